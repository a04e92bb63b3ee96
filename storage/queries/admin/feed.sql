-- $4: how far to look. The channel is looked up per row, as a subquery, on purpose: as a join it would be planned for a whole table, and this is about a page.
SELECT m.position, m.channel_id, m.sequence, mailherd_us(m.received_at), mailherd_us(m.internal_date), m.size, m.digest, m.envelope, m.protocol, m.folder,
       m.uid_validity, m.uid, m.uidl, m.problem, m.has_body
FROM messages m
WHERE m.tenant_id = $1 AND m.position > $2 AND m.position <= $4
  AND (SELECT true FROM channels c WHERE c.tenant_id = m.tenant_id AND c.channel_id = m.channel_id)
ORDER BY m.position LIMIT $3
