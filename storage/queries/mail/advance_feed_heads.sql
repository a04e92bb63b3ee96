UPDATE feed_heads f SET position = f.position + w.n
FROM unnest($1::bigint[], $2::bigint[]) AS w (tenant_id, n) WHERE f.tenant_id = w.tenant_id
