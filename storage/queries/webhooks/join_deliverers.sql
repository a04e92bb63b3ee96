-- An earlier life of the same node is over.
WITH gone AS (DELETE FROM deliverers WHERE node = $1 OR expires_at < now() - interval '1 hour')
INSERT INTO deliverers (node, expires_at) VALUES ($1, now() + $2::bigint * interval '1 second') RETURNING deliverer_id
