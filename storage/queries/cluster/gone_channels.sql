-- The first look: what was disabled or deleted before.
SELECT l.tenant_id, l.channel_id, l.epoch, true AS gone
FROM channel_leases l LEFT JOIN channels c USING (tenant_id, channel_id)
WHERE l.owner = $1 AND coalesce(NOT c.enabled, true)
