-- The position before the first message that arrived at or after a time; the head if there is none. Positions and arrival go the same way but for
-- transactions that overlapped, which are allowed for: a replay may bring a little more, never less.
SELECT coalesce((SELECT min(m.position) - 1 FROM messages m WHERE m.tenant_id = $1 AND m.received_at >= mailherd_time($2) - interval '60 seconds'),
                (SELECT position FROM feed_heads WHERE tenant_id = $1), 0)
