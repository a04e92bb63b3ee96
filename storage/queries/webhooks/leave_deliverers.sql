WITH given AS (UPDATE webhook_cursors SET owner = NULL WHERE owner = $1)
DELETE FROM deliverers WHERE deliverer_id = $1
