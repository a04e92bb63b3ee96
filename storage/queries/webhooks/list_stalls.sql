SELECT kind, channel_id, position, attempts, mailherd_us(first_failed_at), mailherd_us(next_attempt_at), status, error
FROM webhook_stalls WHERE tenant_id = $1 AND webhook_id = $2 ORDER BY kind, channel_id
