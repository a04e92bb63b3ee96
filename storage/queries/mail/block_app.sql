UPDATE oauth_apps SET blocked_since = coalesce(blocked_since, now()), blocked_until = now() + $5::bigint * interval '1 second', blocked_detail = $4
WHERE tenant_id = $1 AND app_id = $2 AND revision = $3
