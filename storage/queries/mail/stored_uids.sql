SELECT uid FROM ledger
WHERE tenant_id = $1 AND channel_id = $2 AND server = $8 AND folder = $3 AND uid_validity = $4 AND uid > $5 AND uid <= $6 AND has_body AND after_fetch = $9
ORDER BY uid LIMIT $7
