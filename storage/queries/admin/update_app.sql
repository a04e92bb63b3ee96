-- $6: which of the two is given anew, 'secret' or 'key'; or 'keep'. $16: what becomes of the second secret, 'set', 'drop' or 'keep'. Whatever
-- changed may be what blocked it: it is asked again at once.
UPDATE oauth_apps
SET name = $3, provider = $4, client_id = $5, sealed_secret = CASE $6 WHEN 'secret' THEN $7 WHEN 'keep' THEN sealed_secret END,
    sealed_key = CASE $6 WHEN 'key' THEN $8 WHEN 'keep' THEN sealed_key END, certificate = $9, authority = $10, authorize_url = $11, token_url = $12,
    device_url = $13, scopes = $14, issuer = $15,
    sealed_next_secret = CASE $16 WHEN 'set' THEN $17 WHEN 'keep' THEN sealed_next_secret END, secret_expires_at = mailherd_time($18),
    revision = revision + 1,
    blocked_since = NULL, blocked_until = NULL, blocked_detail = ''
WHERE tenant_id = $1 AND app_id = $2
