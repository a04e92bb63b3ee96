UPDATE deliverers SET expires_at = now() + $2::bigint * interval '1 second' WHERE deliverer_id = $1 AND expires_at > now()
