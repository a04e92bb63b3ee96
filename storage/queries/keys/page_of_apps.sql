SELECT tenant_id, app_id, 0, sealed_secret, sealed_key FROM oauth_apps
WHERE (tenant_id, app_id, 0) > ($1, $2, $3) AND (sealed_secret IS NOT NULL OR sealed_key IS NOT NULL)
ORDER BY tenant_id, app_id LIMIT $4
