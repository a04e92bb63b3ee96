UPDATE oauth_apps SET sealed_secret = coalesce($4, sealed_secret), sealed_key = coalesce($5, sealed_key)
WHERE tenant_id = $1 AND app_id = $2 AND $3::bigint = 0
