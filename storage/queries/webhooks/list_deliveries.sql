-- Newest first, before delivery $4. State '' is all of them.
SELECT delivery_id, state, kind, event, channel_id, position, sequence, attempts, mailherd_us(at), took_ms, status, error, request, response
FROM webhook_deliveries
WHERE tenant_id = $1 AND webhook_id = $2 AND ($3 = '' OR state = $3) AND ($4 = 0 OR delivery_id < $4)
ORDER BY delivery_id DESC LIMIT $5
