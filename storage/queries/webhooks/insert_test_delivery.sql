INSERT INTO webhook_deliveries (tenant_id, webhook_id, state, kind, event, channel_id, position, sequence, attempts)
SELECT $1::bigint, $2, 'pending', 'test', 'test-' || $1::bigint::text || '-' || next.id::text, 0, next.id, 0, 0
FROM (SELECT nextval('webhook_delivery_ids') AS id) AS next
RETURNING delivery_id
