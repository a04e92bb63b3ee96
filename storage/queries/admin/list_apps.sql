SELECT tenant_id, app_id, name, provider, client_id, certificate, authority, authorize_url, token_url, device_url, issuer,
       to_json(scopes) AS scopes, mailherd_us(created_at) AS created_at,
       mailherd_us(secret_expires_at) AS secret_expires_at, mailherd_us(blocked_since) AS blocked_since,
       CASE WHEN blocked_until > now() THEN mailherd_us(blocked_until) END AS blocked_until, blocked_detail, revision, sealed_next_secret IS NOT NULL AS has_next_secret
FROM oauth_apps WHERE tenant_id = $1 AND app_id > $2 ORDER BY app_id LIMIT $3
