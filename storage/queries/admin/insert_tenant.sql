INSERT INTO tenants (name, max_channels, max_message_bytes) VALUES ($1, $2, $3)
RETURNING tenant_id, name, max_channels, max_message_bytes, mailherd_us(created_at)
