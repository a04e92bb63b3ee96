INSERT INTO webhooks (tenant_id, webhook_id, url, events, channels, body, raw_bytes, max_in_flight, max_per_second, enabled, sealed_secret)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
