-- What life $1, of node $2, has to do with handovers: 'going' are its channels that are wanted elsewhere, 'coming' those of others that it is to
-- take, 'came' what was passed on to it and it has not seen yet.
SELECT 'going' AS part, l.tenant_id, l.channel_id, l.epoch, l.wanted, l.wanted_why, i.incarnation_id AS ready, l.ready_alone,
       coalesce(l.refused_at >= l.wanted_at, false) AS refused, coalesce(extract(epoch FROM now() - l.wanted_at), 0)::float8 AS age
FROM channel_leases l LEFT JOIN incarnations i ON i.incarnation_id = l.ready AND i.node = l.wanted AND i.ended IS NULL AND i.expires_at > now()
WHERE l.wanted IS NOT NULL AND l.owner = $1
UNION ALL
SELECT 'coming', l.tenant_id, l.channel_id, l.epoch, l.wanted, l.wanted_why, nullif(l.ready, 0), l.ready_alone,
       coalesce(l.refused_at >= l.wanted_at, false), coalesce(extract(epoch FROM now() - l.wanted_at), 0)::float8
FROM channel_leases l JOIN incarnations i ON i.incarnation_id = l.owner
WHERE l.wanted = $2 AND l.owner <> $1 AND l.enabled AND i.ended IS NULL
UNION ALL
SELECT 'came', l.tenant_id, l.channel_id, l.epoch, NULL, l.wanted_why, NULL, l.ready_alone, false, extract(epoch FROM now() - l.passed_at)::float8
FROM channel_leases l WHERE l.owner = $1 AND l.passed_at IS NOT NULL
