-- A credential that waited for its consent.
UPDATE credentials SET sealed_refresh_token = $4, account = $5, rotated_at = now() WHERE tenant_id = $1 AND channel_id = $2 AND generation = $3
