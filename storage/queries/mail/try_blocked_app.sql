UPDATE oauth_apps SET blocked_until = now() + $3::bigint * interval '1 second'
WHERE tenant_id = $1 AND app_id = $2 AND (blocked_since IS NULL OR blocked_until IS NULL OR blocked_until <= now())
