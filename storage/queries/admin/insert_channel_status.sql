INSERT INTO channel_status (tenant_id, channel_id, state) VALUES ($1, $2, $3)
