UPDATE incarnations SET renewed_at = now(), expires_at = now() + $2 * interval '1 second', channels = $3 WHERE incarnation_id = $1 AND ended IS NULL
