-- Channels of this life that changed since the oldest transaction that was still running at the last look.
SELECT l.tenant_id, l.channel_id, l.epoch, coalesce(NOT c.enabled, true) AS gone
FROM channel_changes h
JOIN channel_leases l USING (tenant_id, channel_id)
LEFT JOIN channels c USING (tenant_id, channel_id)
WHERE h.changed >= $2 AND l.owner = $1
