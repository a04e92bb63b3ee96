SELECT tenant_id, app_id, 0, sealed_next_secret, NULL::bytea FROM oauth_apps
WHERE (tenant_id, app_id, 0) > ($1, $2, $3) AND sealed_next_secret IS NOT NULL
ORDER BY tenant_id, app_id LIMIT $4
