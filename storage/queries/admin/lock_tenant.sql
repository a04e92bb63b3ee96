-- Against others who count what the tenant has, and against its deletion.
SELECT max_channels, max_message_bytes FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE
