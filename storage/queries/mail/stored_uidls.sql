SELECT w.ord, l.size FROM unnest($3::text[]) WITH ORDINALITY AS w (uidl, ord)
JOIN ledger l ON l.tenant_id = $1 AND l.channel_id = $2 AND l.server = $4 AND l.folder = '' AND l.uid_validity = 0 AND l.uid = 0 AND l.uidl = w.uidl
WHERE l.has_body AND l.after_fetch = 'delete'
ORDER BY w.ord
