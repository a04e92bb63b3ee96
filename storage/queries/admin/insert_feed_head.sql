INSERT INTO feed_heads (tenant_id) VALUES ($1)
