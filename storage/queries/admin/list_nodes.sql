-- The newest life of each name. One that left is no node any more; one that is over otherwise, or did not renew in time, is lost.
WITH newest AS (SELECT DISTINCT ON (node) * FROM incarnations ORDER BY node, incarnation_id DESC),
owned AS (SELECT owner, count(*) AS channels FROM channel_leases WHERE owner IS NOT NULL GROUP BY owner)
SELECT n.node, n.version, CASE WHEN n.ended IS NOT NULL OR n.expires_at <= now() THEN 'lost' WHEN n.draining THEN 'draining' ELSE 'active' END,
       coalesce(o.channels, 0), greatest(extract(epoch FROM now() - n.renewed_at), 0)::float8
FROM newest n LEFT JOIN owned o ON o.owner = n.incarnation_id
WHERE n.ended IS NULL OR n.ended = 'lost'
ORDER BY n.node
