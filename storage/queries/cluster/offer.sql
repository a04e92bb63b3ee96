-- Wishes $4 of life $1's channels onto node $2. Of the tenants that have the most here one more each, round by round: a tenant does not move as a
-- block, and does not sit on one node in the end. What a node has refused lately comes last.
WITH pick AS MATERIALIZED (
  SELECT tenant_id, channel_id FROM (
    SELECT tenant_id, channel_id, refused_at, row_number() OVER (PARTITION BY tenant_id ORDER BY channel_id) AS nth
    FROM channel_leases WHERE owner = $1 AND wanted IS NULL AND enabled) AS mine
  WHERE $3 = 'drain' OR refused_at IS NULL OR refused_at < now() - interval '10 minutes'
  ORDER BY refused_at NULLS FIRST, nth DESC, channel_id
  LIMIT $4
), held AS (
  SELECT l.tenant_id, l.channel_id FROM pick JOIN channel_leases l USING (tenant_id, channel_id)
  WHERE l.owner = $1 AND l.wanted IS NULL
  FOR NO KEY UPDATE OF l SKIP LOCKED
)
UPDATE channel_leases l SET wanted = $2, wanted_why = $3, wanted_at = now(), ready = NULL, ready_alone = false
FROM held h WHERE l.tenant_id = h.tenant_id AND l.channel_id = h.channel_id
