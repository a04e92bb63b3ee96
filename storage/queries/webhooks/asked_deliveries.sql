SELECT delivery_id, kind, event, channel_id, position, sequence, attempts FROM webhook_deliveries
WHERE tenant_id = $1 AND webhook_id = $2 AND state = 'pending' ORDER BY delivery_id LIMIT $3
