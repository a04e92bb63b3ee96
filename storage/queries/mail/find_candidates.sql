-- Messages of the channel that have no identity yet under $4 in folder $3 and have one of the sizes (and dates, where given). $8: which identities count
-- there: 'all', 'none', or of a maildrop 'uidl' or 'digest'.
SELECT DISTINCT ON (l.origin) l.origin, mailherd_us(l.internal_date), l.size, l.digest, l.header_digest, l.has_body
FROM (SELECT DISTINCT size, date FROM unnest($5::bigint[], $6::bigint[]) AS k (size, date)) AS k
JOIN ledger l ON l.tenant_id = $1 AND l.channel_id = $2 AND l.size = k.size AND l.header_digest IS NOT NULL
WHERE (k.date IS NULL OR l.internal_date = mailherd_time(k.date))
  AND NOT EXISTS (SELECT 1 FROM ledger m WHERE m.tenant_id = $1 AND m.channel_id = $2 AND m.size = l.size AND m.header_digest IS NOT NULL
                  AND m.origin = l.origin AND m.folder = $3 AND m.uid_validity = $4 AND m.server = $7
                  AND CASE $8::text WHEN 'all' THEN true WHEN 'none' THEN false ELSE ($8::text = 'digest') = (m.uidl LIKE 'sha256:%') END)
ORDER BY l.origin
