WITH old AS (SELECT event_id, at FROM channel_events WHERE tenant_id = $1 AND channel_id = $2 ORDER BY event_id LIMIT $3),
gone AS (DELETE FROM channel_events e USING old WHERE e.tenant_id = $1 AND e.channel_id = $2 AND e.event_id = old.event_id AND e.at = old.at RETURNING 1)
SELECT count(*) FROM gone
