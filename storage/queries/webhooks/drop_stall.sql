DELETE FROM webhook_stalls WHERE tenant_id = $1 AND webhook_id = $2 AND kind = $3 AND channel_id = $4
