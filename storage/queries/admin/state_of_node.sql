SELECT CASE WHEN ended IS NOT NULL OR expires_at <= now() THEN 'lost' WHEN draining THEN 'draining' ELSE 'active' END
FROM incarnations WHERE node = $1 AND ended IS DISTINCT FROM 'left' ORDER BY incarnation_id DESC LIMIT 1
