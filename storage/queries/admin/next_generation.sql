UPDATE channels SET generation = generation + 1 WHERE tenant_id = $1 AND channel_id = $2 RETURNING generation
