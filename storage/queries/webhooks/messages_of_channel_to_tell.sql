SELECT m.position, m.channel_id, m.sequence, mailherd_us(m.received_at), mailherd_us(m.internal_date), m.size, m.digest, m.envelope, m.protocol, m.folder,
       m.uid_validity, m.uid, m.uidl, m.problem, m.has_body
FROM messages m
WHERE m.tenant_id = $1 AND m.position > $2 AND m.position <= $3 AND m.channel_id = $4
  AND (SELECT true FROM channels c WHERE c.tenant_id = $1 AND c.channel_id = $4)
ORDER BY m.position LIMIT $5
