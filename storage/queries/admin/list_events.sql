-- Newest first, from before event $3 on.
SELECT event_id, mailherd_us(at), kind, state, reason, detail, actor
FROM channel_events WHERE tenant_id = $1 AND channel_id = $2 AND ($3::bigint IS NULL OR event_id < $3)
ORDER BY event_id DESC LIMIT $4
