INSERT INTO credentials (tenant_id, channel_id, generation, type, username, sealed_password, app_id, grant_kind, mailbox, account, sealed_refresh_token)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
