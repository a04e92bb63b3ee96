-- A node has one life: an earlier one of the same name is over, whatever it still believes.
UPDATE incarnations SET ended = 'replaced', expires_at = least(expires_at, now()) WHERE node = $1 AND ended IS NULL
