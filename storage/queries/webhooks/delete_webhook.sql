WITH cursor AS (DELETE FROM webhook_cursors WHERE tenant_id = $1 AND webhook_id = $2),
stalls AS (DELETE FROM webhook_stalls WHERE tenant_id = $1 AND webhook_id = $2),
deliveries AS (DELETE FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2)
DELETE FROM webhooks WHERE tenant_id = $1 AND webhook_id = $2
