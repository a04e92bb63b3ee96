INSERT INTO incarnations (node, version, expires_at) VALUES ($1, $2, now() + $3 * interval '1 second') RETURNING incarnation_id
