UPDATE consents SET uses = uses + 1
WHERE tenant_id = $1 AND consent_id = $2 AND flow IN ('link', 'again') AND state = 'pending' AND uses < $3 AND expires_at > now() RETURNING uses
