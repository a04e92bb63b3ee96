UPDATE webhooks SET sealed_secret = coalesce($4, sealed_secret), sealed_old_secret = coalesce($5, sealed_old_secret)
WHERE tenant_id = $1 AND webhook_id = $2 AND $3::bigint = 0
