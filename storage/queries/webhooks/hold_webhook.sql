SELECT sealed_secret FROM webhooks WHERE tenant_id = $1 AND webhook_id = $2 FOR NO KEY UPDATE
