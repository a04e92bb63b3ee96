-- At most $3 messages of a channel that is no more, the oldest first, with all that hangs on them (outbox: from versions that still wrote it).
WITH old AS (SELECT tenant_id, position, received_at FROM messages WHERE tenant_id = $1 AND channel_id = $2 ORDER BY position LIMIT $3),
gone AS (
  DELETE FROM messages m USING old WHERE m.tenant_id = $1 AND m.position = old.position AND m.received_at = old.received_at
  RETURNING m.position, m.blob_id, m.body_index
),
told AS (DELETE FROM outbox o USING gone WHERE o.tenant_id = $1 AND o.position = gone.position),
chunks AS (DELETE FROM blob_chunks c USING gone WHERE c.tenant_id = $1 AND c.blob_id = gone.blob_id),
ahead AS (DELETE FROM bodies b USING gone WHERE b.tenant_id = $1 AND b.blob_id = gone.blob_id AND b.index = gone.body_index),
claims AS (DELETE FROM blobs b USING gone WHERE b.tenant_id = $1 AND b.blob_id = gone.blob_id)
SELECT count(*) FROM gone
