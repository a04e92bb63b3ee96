UPDATE webhook_cursors c SET owner = NULL FROM unnest($2::bigint[], $3::bigint[]) AS w (tenant_id, webhook_id)
WHERE c.tenant_id = w.tenant_id AND c.webhook_id = w.webhook_id AND c.owner = $1
