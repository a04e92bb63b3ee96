UPDATE channel_leases SET enabled = $3, wanted = CASE WHEN $3 THEN wanted END WHERE tenant_id = $1 AND channel_id = $2
