SELECT s.state, s.reason, s.switching, c.generation FROM channel_status s JOIN channels c USING (tenant_id, channel_id)
WHERE tenant_id = $1 AND channel_id = $2
