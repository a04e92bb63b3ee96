-- Channels of lives that are over.
UPDATE channel_leases SET owner = NULL
WHERE (tenant_id, channel_id) IN (
  SELECT l.tenant_id, l.channel_id FROM channel_leases l JOIN incarnations i ON i.incarnation_id = l.owner
  WHERE i.ended IS NOT NULL ORDER BY 1, 2 FOR NO KEY UPDATE OF l SKIP LOCKED)
