UPDATE channel_leases SET owner = NULL
WHERE (tenant_id, channel_id) IN (
  SELECT tenant_id, channel_id FROM channel_leases WHERE owner = $1 ORDER BY 1, 2 FOR NO KEY UPDATE)
