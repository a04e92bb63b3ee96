UPDATE webhook_deliveries SET state = 'pending' WHERE tenant_id = $1 AND webhook_id = $2 AND delivery_id = $3 AND state = 'dead'
