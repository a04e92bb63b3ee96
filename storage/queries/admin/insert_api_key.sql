INSERT INTO api_keys (tenant_id, name, digest) VALUES ($1, $2, $3)
RETURNING api_key_id, name, mailherd_us(created_at), mailherd_us(last_used_at)
