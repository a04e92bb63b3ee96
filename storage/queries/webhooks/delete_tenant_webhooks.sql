WITH cursors AS (DELETE FROM webhook_cursors WHERE tenant_id = $1),
stalls AS (DELETE FROM webhook_stalls WHERE tenant_id = $1),
deliveries AS (DELETE FROM webhook_deliveries WHERE tenant_id = $1),
states AS (DELETE FROM channel_states WHERE tenant_id = $1)
DELETE FROM webhooks WHERE tenant_id = $1
