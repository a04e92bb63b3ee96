SELECT sealed_secret, sealed_old_secret FROM webhooks WHERE tenant_id = $1 AND webhook_id = $2 AND $3::bigint = 0 FOR NO KEY UPDATE
