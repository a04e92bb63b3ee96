INSERT INTO message_tries AS t (tenant_id, channel_id, folder, uid_validity, uid, uidl, tries)
SELECT l.tenant_id, l.channel_id, $4, $5, $6, $7, 1
FROM channel_leases l WHERE l.tenant_id = $1 AND l.channel_id = $2 AND l.epoch = $3 AND l.owner IS NOT NULL
ON CONFLICT (tenant_id, channel_id, folder, uid_validity, uid, uidl) DO UPDATE SET tries = t.tries + 1, at = now()
RETURNING tries
