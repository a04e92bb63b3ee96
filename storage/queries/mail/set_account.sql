-- The account that the credential turned out to belong to.
UPDATE credentials SET account = $4 WHERE tenant_id = $1 AND channel_id = $2 AND generation = $3 AND account <> $4 AND $4 <> ''
