SELECT sealed_next_secret, NULL::bytea FROM oauth_apps WHERE tenant_id = $1 AND app_id = $2 AND $3::bigint = 0 FOR NO KEY UPDATE
