-- POP3: seen and not wanted.
INSERT INTO ledger (tenant_id, channel_id, server, uid_validity, uid, size, has_body, folder, uidl)
SELECT $1, $2, $4, 0, 0, 0, false, '', w.uidl FROM unnest($3::text[]) AS w (uidl)
ON CONFLICT (tenant_id, channel_id, server, folder, uid_validity, uid, uidl) DO NOTHING
