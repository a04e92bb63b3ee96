-- A row: it is $3's for $4 seconds from now. No row: somebody else's.
INSERT INTO grant_holds AS h (tenant_id, channel_id, holder, until) VALUES ($1, $2, $3, now() + $4::bigint * interval '1 second')
ON CONFLICT (tenant_id, channel_id) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE h.holder = excluded.holder OR h.until <= now()
RETURNING holder
