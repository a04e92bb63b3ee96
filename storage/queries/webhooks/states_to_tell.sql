SELECT s.position, s.channel_id, mailherd_us(s.at), s.state, s.reason, s.detail
FROM channel_states s
WHERE s.tenant_id = $1 AND s.position > $2 AND s.position <= $3 AND (cardinality($4::bigint[]) = 0 OR s.channel_id = ANY ($4::bigint[]))
  AND (SELECT true FROM channels c WHERE c.tenant_id = s.tenant_id AND c.channel_id = s.channel_id)
ORDER BY s.position LIMIT $5
