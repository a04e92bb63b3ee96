-- As note_change, for all channels of a tenant; in order, so that two who do this cannot wait for each other in a circle.
INSERT INTO channel_changes (tenant_id, channel_id) SELECT tenant_id, channel_id FROM channels WHERE tenant_id = $1 ORDER BY channel_id
ON CONFLICT (tenant_id, channel_id) DO UPDATE SET changed = (pg_current_xact_id()::text)::bigint, at = now()
