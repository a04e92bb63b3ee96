-- The node that does for all what needs to be done once: rows decide, so that no leader is missed when it is gone.
SELECT node FROM incarnations WHERE ended IS NULL AND expires_at > now() ORDER BY incarnation_id LIMIT 1
