-- Everything after position $3 is due again, in order; what is given up after it is forgotten, since it comes again too.
WITH stalls AS (DELETE FROM webhook_stalls WHERE tenant_id = $1 AND webhook_id = $2 AND kind = 'message' AND position >= $3),
dead AS (DELETE FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND state = 'dead' AND kind = 'message' AND position > $3)
UPDATE webhook_cursors
SET message_position = least(message_position, $3), due_since = now(), failures = 0, failing_since = NULL, open_until = NULL, revision = revision + 1
WHERE tenant_id = $1 AND webhook_id = $2
