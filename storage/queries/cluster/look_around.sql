-- The lives that are not over, how many channels nobody holds, and for how long no node has come or gone. Counts are those that each life told
-- with its last renewal: nobody counts a hundred thousand leases every few seconds.
WITH free AS (
  SELECT (SELECT count(*) FROM channel_leases WHERE owner IS NULL AND enabled)
       + (SELECT count(*) FROM incarnations o JOIN channel_leases l ON l.owner = o.incarnation_id WHERE o.ended IS NOT NULL OR o.expires_at <= now()) AS n
), changed AS (
  SELECT max(greatest(started_at, CASE WHEN ended IS NOT NULL OR expires_at <= now() THEN expires_at END)) AS at FROM incarnations
), moving AS (
  SELECT owner, wanted, count(*) AS n FROM channel_leases WHERE wanted IS NOT NULL AND owner IS NOT NULL GROUP BY owner, wanted
)
SELECT i.incarnation_id, i.node, i.draining, i.capacity, i.channels,
       (SELECT coalesce(sum(n), 0) FROM moving WHERE wanted = i.node)::bigint AS coming,
       (SELECT coalesce(sum(n), 0) FROM moving WHERE owner = i.incarnation_id)::bigint AS going,
       (SELECT count(*) FROM channel_leases WHERE owner = i.incarnation_id AND passed_at IS NOT NULL) AS came,
       free.n, extract(epoch FROM now() - changed.at)::float8
FROM incarnations i, free, changed
WHERE i.ended IS NULL AND i.expires_at > now()
ORDER BY i.incarnation_id
