WITH gone AS (
  DELETE FROM ledger WHERE ctid = ANY (ARRAY(SELECT ctid FROM ledger WHERE tenant_id = $1 AND channel_id = $2 LIMIT $3)) RETURNING 1
)
SELECT count(*) FROM gone
