-- Of two that bring the same state one is too late.
UPDATE consents SET taken_at = now()
WHERE tenant_id = $1 AND consent_id = $2 AND flow = 'browser' AND state = 'pending' AND taken_at IS NULL AND expires_at > now() RETURNING 1
