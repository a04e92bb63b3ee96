-- The columns of load_channel without secrets. First the page, then its rows: planned in one, the whole tenant would be joined and sorted.
WITH page AS MATERIALIZED (SELECT channel_id FROM channels WHERE tenant_id = $1 AND channel_id > $2 ORDER BY channel_id LIMIT $3)
SELECT c.channel_id, c.name, c.address, c.enabled, c.protocol, c.host, c.port, c.tls, c.folder, c.proxy_kind, c.proxy_host, c.proxy_port, c.proxy_username,
       c.start_kind, mailherd_us(c.start_at) AS start_at, c.after_fetch, c.generation, c.revision, c.server, mailherd_us(c.created_at) AS created_at,
       s.state, s.reason, s.detail, mailherd_us(s.since) AS since, mailherd_us(s.next_attempt_at) AS next_attempt_at,
       mailherd_us(s.throttled_until) AS throttled_until, mailherd_us(s.last_success_at) AS last_success_at,
       mailherd_us(s.token_expires_at) AS token_expires_at, s.observed_generation, s.previous_generation, s.switching, s.switch_error, s.messages_stored,
       s.backfill_done, s.backfill_total, coalesce(i.node, '') AS node, coalesce(l.epoch, 0) AS epoch,
       k.type, k.username, k.app_id, k.grant_kind, k.mailbox, k.account, k.sealed_refresh_token IS NOT NULL AS has_refresh_token
FROM page JOIN channels c ON c.tenant_id = $1 AND c.channel_id = page.channel_id
JOIN channel_status s ON s.tenant_id = $1 AND s.channel_id = page.channel_id
JOIN credentials k ON k.tenant_id = $1 AND k.channel_id = page.channel_id AND k.generation = c.generation
LEFT JOIN channel_leases l ON l.tenant_id = $1 AND l.channel_id = page.channel_id
LEFT JOIN incarnations i ON i.incarnation_id = l.owner
ORDER BY page.channel_id
