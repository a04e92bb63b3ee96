SELECT delivery_id, state, kind, event, channel_id, position, sequence, attempts, mailherd_us(at), took_ms, status, error, request, response
FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND delivery_id = $3
