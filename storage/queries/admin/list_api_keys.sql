SELECT api_key_id, name, mailherd_us(created_at), mailherd_us(last_used_at) FROM api_keys WHERE tenant_id = $1 ORDER BY api_key_id
