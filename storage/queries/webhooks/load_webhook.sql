SELECT w.url, w.events, w.channels, w.body, w.raw_bytes, w.max_in_flight, w.max_per_second, w.sealed_secret,
       CASE WHEN w.old_secret_until > now() THEN w.sealed_old_secret END, CASE WHEN w.old_secret_until > now() THEN mailherd_us(w.old_secret_until) END,
       c.epoch, c.revision, c.message_position, c.state_position, mailherd_us(c.due_since), c.failures, mailherd_us(c.failing_since),
       mailherd_us(c.open_until)
FROM webhooks w JOIN webhook_cursors c USING (tenant_id, webhook_id)
WHERE w.tenant_id = $1 AND w.webhook_id = $2 AND c.owner = $3 AND c.active
