INSERT INTO webhook_stalls (tenant_id, webhook_id, kind, channel_id, position, attempts, first_failed_at, next_attempt_at, status, error)
VALUES ($1, $2, $3, $4, $5, $6, mailherd_time($7), mailherd_time($8), $9, $10)
ON CONFLICT (tenant_id, webhook_id, kind, channel_id) DO UPDATE
SET position = excluded.position, attempts = excluded.attempts, first_failed_at = excluded.first_failed_at, next_attempt_at = excluded.next_attempt_at,
    status = excluded.status, error = excluded.error
