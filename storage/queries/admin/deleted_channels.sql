SELECT tenant_id, channel_id FROM channel_changes h
WHERE NOT EXISTS (SELECT 1 FROM channels c WHERE c.tenant_id = h.tenant_id AND c.channel_id = h.channel_id)
ORDER BY tenant_id, channel_id
