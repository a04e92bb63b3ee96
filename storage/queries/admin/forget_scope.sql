DELETE FROM idempotency_keys WHERE scope = $1
