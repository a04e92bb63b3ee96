UPDATE tenants SET name = coalesce($2, name), max_channels = coalesce($3, max_channels), max_message_bytes = coalesce($4, max_message_bytes)
WHERE tenant_id = $1
RETURNING tenant_id, name, max_channels, max_message_bytes, mailherd_us(created_at)
