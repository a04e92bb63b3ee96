UPDATE credentials SET sealed_refresh_token = $4, account = CASE WHEN $5 = '' THEN account ELSE $5 END, rotated_at = now()
WHERE tenant_id = $1 AND channel_id = $2 AND generation = $3
