SELECT count(*) FROM channels WHERE tenant_id = $1
