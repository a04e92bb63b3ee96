-- Bodies that belong to no message (a commit that never came, a duplicate), and those whose message's partition is gone. At most $2. Of the latter, what
-- was written ahead of its commit goes with its own partition, a day later: nothing is deleted row by row that is dropped as a whole.
WITH old AS (
  SELECT b.tenant_id, b.blob_id, b.message_at IS NULL AS unclaimed FROM blobs b
  WHERE (b.message_at IS NULL AND b.created_at < now() - interval '1 day')
     OR ($1::bigint > 0 AND b.message_at < date_trunc('month', (now() - $1::bigint * interval '1 day') AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')
  LIMIT $2 FOR UPDATE SKIP LOCKED
), chunks AS (
  DELETE FROM blob_chunks c USING old WHERE c.tenant_id = old.tenant_id AND c.blob_id = old.blob_id
), ahead AS (
  DELETE FROM bodies a USING old WHERE old.unclaimed AND a.tenant_id = old.tenant_id AND a.blob_id = old.blob_id
)
DELETE FROM blobs b USING old WHERE b.tenant_id = old.tenant_id AND b.blob_id = old.blob_id
