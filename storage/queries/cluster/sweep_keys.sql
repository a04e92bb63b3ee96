-- An answer is remembered for a day; a request that never finished gives its key back after ten minutes.
DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day' OR (status IS NULL AND created_at < now() - interval '10 minutes')
