-- $6: which of the two is given anew, 'secret' or 'key'; or 'keep'.
UPDATE oauth_apps
SET name = $3, provider = $4, client_id = $5, sealed_secret = CASE $6 WHEN 'secret' THEN $7 WHEN 'keep' THEN sealed_secret END,
    sealed_key = CASE $6 WHEN 'key' THEN $8 WHEN 'keep' THEN sealed_key END, certificate = $9, authority = $10, authorize_url = $11, token_url = $12,
    device_url = $13, scopes = $14
WHERE tenant_id = $1 AND app_id = $2
