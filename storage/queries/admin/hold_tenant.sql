-- Against its deletion only.
SELECT 1 FROM tenants WHERE tenant_id = $1 FOR KEY SHARE
