-- Leases of deleted channels that nobody holds any longer.
DELETE FROM channel_leases l
USING unnest($1::bigint[], $2::bigint[]) AS w (tenant_id, channel_id)
WHERE l.tenant_id = w.tenant_id AND l.channel_id = w.channel_id AND l.owner IS NULL
  AND NOT EXISTS (SELECT 1 FROM channels c WHERE c.tenant_id = l.tenant_id AND c.channel_id = l.channel_id)
