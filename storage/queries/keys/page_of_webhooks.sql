SELECT tenant_id, webhook_id, 0, sealed_secret, sealed_old_secret FROM webhooks
WHERE (tenant_id, webhook_id, 0) > ($1, $2, $3)
ORDER BY tenant_id, webhook_id LIMIT $4
