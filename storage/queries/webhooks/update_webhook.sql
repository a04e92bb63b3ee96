-- Enabled again, it begins with a clean slate; what was due meanwhile is still due.
WITH changed AS (
  UPDATE webhooks SET url = $3, events = $4, channels = $5, body = $6, raw_bytes = $7, max_in_flight = $8, max_per_second = $9, enabled = $10,
                      disabled_reason = CASE WHEN $10 THEN '' ELSE disabled_reason END, revision = revision + 1
  WHERE tenant_id = $1 AND webhook_id = $2 RETURNING tenant_id, webhook_id
)
UPDATE webhook_cursors c
SET revision = c.revision + 1, active = $10, failures = CASE WHEN c.active THEN c.failures ELSE 0 END,
    failing_since = CASE WHEN c.active THEN c.failing_since END, open_until = CASE WHEN c.active THEN c.open_until END
FROM changed WHERE c.tenant_id = changed.tenant_id AND c.webhook_id = changed.webhook_id
