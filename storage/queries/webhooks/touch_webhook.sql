-- Whatever its owner has in memory is void: it reads everything again.
UPDATE webhook_cursors SET revision = revision + 1 WHERE tenant_id = $1 AND webhook_id = $2
