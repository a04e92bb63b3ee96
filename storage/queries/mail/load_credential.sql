SELECT type, username, sealed_password, app_id, grant_kind, mailbox, account, sealed_refresh_token
FROM credentials WHERE tenant_id = $1 AND channel_id = $2 AND generation = $3
