UPDATE webhook_cursors SET owner = $1, epoch = epoch + 1
WHERE (tenant_id, webhook_id) IN (
  SELECT c.tenant_id, c.webhook_id FROM webhook_cursors c
  WHERE c.active AND (c.owner IS NULL OR NOT EXISTS (SELECT FROM deliverers d WHERE d.deliverer_id = c.owner AND d.expires_at > now()))
  ORDER BY c.webhook_id LIMIT $2 FOR UPDATE SKIP LOCKED)
