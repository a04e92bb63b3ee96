SELECT tenant_id, app_id, name, provider, client_id, certificate, authority, authorize_url, token_url, device_url,
       to_json(scopes) AS scopes, mailherd_us(created_at) AS created_at
FROM oauth_apps WHERE tenant_id = $1 AND app_id > $2 ORDER BY app_id LIMIT $3
