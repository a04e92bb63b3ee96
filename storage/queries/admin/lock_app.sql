SELECT 1 FROM oauth_apps WHERE tenant_id = $1 AND app_id = $2 FOR UPDATE
