UPDATE incarnations SET ended = 'left', expires_at = least(expires_at, now()) WHERE incarnation_id = $1 AND ended IS NULL
