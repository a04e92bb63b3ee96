DELETE FROM grant_holds WHERE tenant_id = $1 AND channel_id = $2 AND holder = $3
