SELECT state, reason, switching FROM channel_status WHERE tenant_id = $1 AND channel_id = $2
