UPDATE credentials SET sealed_password = coalesce($4, sealed_password), sealed_refresh_token = coalesce($5, sealed_refresh_token)
WHERE tenant_id = $1 AND channel_id = $2 AND generation = $3
