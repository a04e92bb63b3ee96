INSERT INTO channel_changes (tenant_id, channel_id) VALUES ($1, $2)
ON CONFLICT (tenant_id, channel_id) DO UPDATE SET changed = (pg_current_xact_id()::text)::bigint, at = now()
