SELECT channel_id, generation, app_id, link_id FROM consents WHERE tenant_id = $1 AND consent_id = $2 AND state = 'pending' FOR UPDATE
