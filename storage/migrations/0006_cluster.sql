-- Handovers between nodes: the wish (`wanted`, which is there already), its answer, and what was passed on. A version that knows none of this
-- ignores it: a wish that nobody answers ends by itself.

ALTER TABLE incarnations
  ADD COLUMN draining boolean NOT NULL DEFAULT false,      -- gives everything away, takes nothing
  ADD COLUMN capacity bigint NOT NULL DEFAULT 100000,      -- channels it takes at most; its share of all is weighted by this
  ADD COLUMN channels bigint NOT NULL DEFAULT 0;           -- that it held when it renewed last

ALTER TABLE channel_leases
  ADD COLUMN wanted_why text,                              -- 'drain', 'move', 'rebalance'
  ADD COLUMN wanted_at timestamptz,
  ADD COLUMN ready bigint,                                 -- life of the wanted node that can serve it at once
  ADD COLUMN ready_alone boolean NOT NULL DEFAULT false,   -- but only when the owner has logged out: the server takes one session at a time
  ADD COLUMN refused_at timestamptz,                       -- the wanted node could not
  ADD COLUMN passed_at timestamptz;                        -- given to its owner by another one, and not seen by it yet
CREATE INDEX channel_leases_wanted ON channel_leases (wanted) WHERE wanted IS NOT NULL;
CREATE INDEX channel_leases_passed ON channel_leases (owner) WHERE passed_at IS NOT NULL;
