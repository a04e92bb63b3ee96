INSERT INTO channel_leases (tenant_id, channel_id, enabled) VALUES ($1, $2, $3)
