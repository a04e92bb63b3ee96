SELECT generation, sealed_refresh_token FROM credentials
WHERE tenant_id = $1 AND channel_id = $2 AND generation <> $3 AND sealed_refresh_token IS NOT NULL ORDER BY generation FOR NO KEY UPDATE
