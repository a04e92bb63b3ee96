DELETE FROM channel_changes h WHERE h.at < now() - interval '1 day'
  AND NOT EXISTS (SELECT 1 FROM channels c WHERE c.tenant_id = h.tenant_id AND c.channel_id = h.channel_id)
