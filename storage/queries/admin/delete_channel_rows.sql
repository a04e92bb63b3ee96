-- As delete_tenant_rows.
WITH credentials AS (DELETE FROM credentials WHERE tenant_id = $1 AND channel_id = $2),
consents AS (DELETE FROM consents WHERE tenant_id = $1 AND channel_id = $2),
cursors AS (DELETE FROM cursors WHERE tenant_id = $1 AND channel_id = $2),
tries AS (DELETE FROM message_tries WHERE tenant_id = $1 AND channel_id = $2)
DELETE FROM channel_status WHERE tenant_id = $1 AND channel_id = $2
