SELECT w.tenant_id, w.webhook_id, w.url, w.events, w.channels, w.body, w.raw_bytes, w.max_in_flight, w.max_per_second, w.enabled, w.disabled_reason,
       CASE WHEN w.old_secret_until > now() THEN mailherd_us(w.old_secret_until) END AS old_secret_until, w.revision, mailherd_us(w.created_at) AS created_at,
       c.message_position, h.position AS head, c.failures, mailherd_us(c.failing_since) AS failing_since, mailherd_us(c.open_until) AS open_until,
       (SELECT count(*) FROM webhook_stalls s WHERE s.tenant_id = w.tenant_id AND s.webhook_id = w.webhook_id) AS stalled,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.webhook_id AND d.state = 'dead') AS dead
FROM webhooks w JOIN webhook_cursors c USING (tenant_id, webhook_id) JOIN feed_heads h USING (tenant_id)
WHERE w.tenant_id = $1 AND w.webhook_id > $2 ORDER BY w.webhook_id LIMIT $3
