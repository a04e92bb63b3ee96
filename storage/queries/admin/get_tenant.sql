SELECT tenant_id, name, max_channels, max_message_bytes, mailherd_us(created_at) FROM tenants WHERE tenant_id = $1
