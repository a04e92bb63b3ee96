DELETE FROM channels WHERE tenant_id = $1 AND channel_id = $2 RETURNING 1
