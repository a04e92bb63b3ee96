SELECT sealed_proxy_password, NULL::bytea FROM channels WHERE tenant_id = $1 AND channel_id = $2 AND $3::bigint = 0 FOR NO KEY UPDATE
