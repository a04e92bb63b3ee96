INSERT INTO channel_events (tenant_id, channel_id, kind, state, reason, detail, actor) VALUES ($1, $2, $3, $4, $5, $6, $7)
