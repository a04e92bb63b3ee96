UPDATE consents SET state = $3, account = $4, detail = $5, sealed_secret = NULL WHERE tenant_id = $1 AND consent_id = $2 AND state = 'pending' RETURNING channel_id
