UPDATE incarnations SET draining = true WHERE node = $1 AND ended IS NULL AND expires_at > now()
