-- As note_change, for all channels that sign in with an app; in order, as note_tenant_changes.
INSERT INTO channel_changes (tenant_id, channel_id)
SELECT DISTINCT k.tenant_id, k.channel_id
FROM credentials k JOIN channels c USING (tenant_id, channel_id) JOIN channel_status s USING (tenant_id, channel_id)
WHERE k.tenant_id = $1 AND k.app_id = $2 AND k.generation IN (c.generation, s.observed_generation)
ORDER BY k.channel_id
ON CONFLICT (tenant_id, channel_id) DO UPDATE SET changed = (pg_current_xact_id()::text)::bigint, at = now()
