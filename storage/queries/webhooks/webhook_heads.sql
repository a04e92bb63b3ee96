SELECT h.position, h.state_position, c.revision FROM webhook_cursors c JOIN feed_heads h USING (tenant_id)
WHERE c.tenant_id = $1 AND c.webhook_id = $2 AND c.owner = $3 AND c.epoch = $4
