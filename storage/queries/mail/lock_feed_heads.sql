-- In the order of tenants, held to the end: positions become visible in their order.
SELECT tenant_id, position FROM feed_heads WHERE tenant_id = ANY ($1::bigint[]) ORDER BY tenant_id FOR NO KEY UPDATE
