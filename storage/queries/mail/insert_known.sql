-- A further identity of a message of this channel. $4: ledger origin, $5: its size (finds the row).
INSERT INTO ledger (tenant_id, channel_id, server, origin, uid_validity, uid, size, internal_date, has_body, folder, uidl, digest, header_digest, after_fetch)
SELECT DISTINCT ON (w.ord) l.tenant_id, l.channel_id, $9, l.origin, w.uid_validity, w.uid, l.size, l.internal_date, l.has_body, $3, w.uidl, l.digest, l.header_digest, l.after_fetch
FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[])
     WITH ORDINALITY AS w (origin, size, uid_validity, uid, uidl, ord)
JOIN ledger l ON l.tenant_id = $1 AND l.channel_id = $2 AND l.size = w.size AND l.header_digest IS NOT NULL AND l.origin = w.origin
ORDER BY w.ord, l.after_fetch NULLS FIRST   -- identities that do not agree: it is kept
ON CONFLICT (tenant_id, channel_id, server, folder, uid_validity, uid, uidl) DO NOTHING
