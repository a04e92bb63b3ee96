DELETE FROM oauth_apps WHERE tenant_id = $1
