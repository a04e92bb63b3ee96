INSERT INTO oauth_apps (tenant_id, app_id, name, provider, client_id, sealed_secret, sealed_key, certificate, authority, authorize_url, token_url,
                        device_url, scopes, issuer, sealed_next_secret, secret_expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, mailherd_time($16))
