UPDATE webhooks SET sealed_secret = $3, sealed_old_secret = $4, old_secret_until = mailherd_time($5), revision = revision + 1
WHERE tenant_id = $1 AND webhook_id = $2
