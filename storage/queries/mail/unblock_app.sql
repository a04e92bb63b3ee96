UPDATE oauth_apps SET blocked_since = NULL, blocked_until = NULL, blocked_detail = ''
WHERE tenant_id = $1 AND app_id = $2 AND blocked_since IS NOT NULL
