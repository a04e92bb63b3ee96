UPDATE webhook_deliveries SET state = $4, attempts = $5, at = mailherd_time($6), took_ms = $7, status = $8, error = $9, request = $10, response = $11
WHERE tenant_id = $1 AND webhook_id = $2 AND delivery_id = $3 AND state = 'pending'
