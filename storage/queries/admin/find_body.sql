SELECT m.has_body, m.size, m.blob_id, coalesce(octet_length(m.body), 0), mailherd_us(m.received_at), m.body_index
FROM messages m
WHERE m.tenant_id = $1 AND m.position = $2
  AND (SELECT true FROM channels c WHERE c.tenant_id = m.tenant_id AND c.channel_id = m.channel_id)
