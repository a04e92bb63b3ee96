SELECT sealed_password, sealed_refresh_token FROM credentials WHERE tenant_id = $1 AND channel_id = $2 AND generation = $3 FOR NO KEY UPDATE
