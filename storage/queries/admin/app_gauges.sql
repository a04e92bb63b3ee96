-- How long the secrets and certificates of OAuth apps still last: of each tenant the first to end, in seconds; below zero: it has ended.
SELECT tenant_id, min(extract(epoch FROM secret_expires_at - now()))::float8
FROM oauth_apps WHERE secret_expires_at IS NOT NULL
GROUP BY tenant_id
