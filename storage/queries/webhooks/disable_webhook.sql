WITH changed AS (UPDATE webhooks SET enabled = false, disabled_reason = $3, revision = revision + 1 WHERE tenant_id = $1 AND webhook_id = $2)
UPDATE webhook_cursors SET active = false, owner = NULL, revision = revision + 1 WHERE tenant_id = $1 AND webhook_id = $2
