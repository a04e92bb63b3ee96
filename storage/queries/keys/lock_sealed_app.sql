SELECT sealed_secret, sealed_key FROM oauth_apps WHERE tenant_id = $1 AND app_id = $2 AND $3::bigint = 0 FOR NO KEY UPDATE
