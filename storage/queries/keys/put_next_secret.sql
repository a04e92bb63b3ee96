UPDATE oauth_apps SET sealed_next_secret = coalesce($4, sealed_next_secret) WHERE tenant_id = $1 AND app_id = $2 AND $3::bigint = 0 AND $5::bytea IS NULL
