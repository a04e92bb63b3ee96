INSERT INTO incarnations (node, version, expires_at, capacity) VALUES ($1, $2, now() + $3 * interval '1 second', $4) RETURNING incarnation_id
