-- All that makes a tenant and its channels exist. Their mail and history are hidden by this, and purged in pieces afterwards.
WITH keys AS (DELETE FROM api_keys WHERE tenant_id = $1),
credentials AS (DELETE FROM credentials WHERE tenant_id = $1),
status AS (DELETE FROM channel_status WHERE tenant_id = $1),
consents AS (DELETE FROM consents WHERE tenant_id = $1),
cursors AS (DELETE FROM cursors WHERE tenant_id = $1),
tries AS (DELETE FROM message_tries WHERE tenant_id = $1),
head AS (DELETE FROM feed_heads WHERE tenant_id = $1)
DELETE FROM channels WHERE tenant_id = $1
