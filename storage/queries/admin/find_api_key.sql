SELECT tenant_id, api_key_id, coalesce(last_used_at < now() - interval '1 minute', true) FROM api_keys WHERE digest = $1
