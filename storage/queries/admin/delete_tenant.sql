DELETE FROM tenants WHERE tenant_id = $1 RETURNING 1
