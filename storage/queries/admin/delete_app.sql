DELETE FROM oauth_apps WHERE tenant_id = $1 AND app_id = $2
