-- From now on: what is in the feed already is what a replay is for.
INSERT INTO webhook_cursors (tenant_id, webhook_id, active, message_position, state_position)
SELECT $1, $2, $3, position, state_position FROM feed_heads WHERE tenant_id = $1
