SELECT c.tenant_id, c.webhook_id, c.epoch, c.revision, h.position, h.state_position,
       EXISTS (SELECT FROM webhook_deliveries d WHERE d.tenant_id = c.tenant_id AND d.webhook_id = c.webhook_id AND d.state = 'pending')
FROM webhook_cursors c JOIN feed_heads h USING (tenant_id) WHERE c.owner = $1 AND c.active
