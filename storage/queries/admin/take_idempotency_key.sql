INSERT INTO idempotency_keys (scope, key, request) VALUES ($1, $2, $3) ON CONFLICT (scope, key) DO NOTHING
