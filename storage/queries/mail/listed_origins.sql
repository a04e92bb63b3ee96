-- The messages that listed UIDLs stand for; and, last, the newest of the channel, whatever it is called.
SELECT l.origin, true FROM unnest($3::text[]) AS w (uidl)
JOIN ledger l ON l.tenant_id = $1 AND l.channel_id = $2 AND l.server = $4 AND l.folder = '' AND l.uid_validity = 0 AND l.uid = 0 AND l.uidl = w.uidl
UNION ALL
SELECT coalesce(max(l.origin), 0), false FROM ledger l WHERE l.tenant_id = $1 AND l.channel_id = $2
