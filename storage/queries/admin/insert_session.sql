INSERT INTO console_sessions (session, tenant_id, api_key_id, operator_token, expires_at)
VALUES ($1, $2, $3, $4, now() + $5::bigint * interval '1 second') RETURNING mailherd_us(expires_at)
