DELETE FROM api_keys WHERE tenant_id = $1 AND api_key_id = $2
