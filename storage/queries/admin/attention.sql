-- The columns of load_channel without secrets, and the tenant: channels that will not get well without a person, or have not for a while. $1 at most.
WITH page AS MATERIALIZED (
  SELECT s.tenant_id, s.channel_id, s.since
  FROM channel_status s JOIN channels c USING (tenant_id, channel_id)
  WHERE c.enabled AND (s.state IN ('needs_reauth', 'needs_admin', 'app_blocked', 'consent_pending') OR s.switching = 'failed'
    OR (s.state IN ('backoff', 'connecting', 'throttled') AND coalesce(s.last_success_at, c.created_at) < now() - interval '15 minutes'))
  ORDER BY s.since LIMIT $1
)
SELECT c.channel_id, c.name, c.address, c.enabled, c.protocol, c.host, c.port, c.tls, c.folder, c.proxy_kind, c.proxy_host, c.proxy_port, c.proxy_username,
       c.start_kind, mailherd_us(c.start_at) AS start_at, c.after_fetch, c.generation, c.revision, c.server, mailherd_us(c.created_at) AS created_at,
       s.state, s.reason, s.detail, mailherd_us(s.since) AS since, mailherd_us(s.next_attempt_at) AS next_attempt_at,
       mailherd_us(s.throttled_until) AS throttled_until, mailherd_us(s.last_success_at) AS last_success_at,
       mailherd_us(s.token_expires_at) AS token_expires_at, s.observed_generation, s.previous_generation, s.switching, s.switch_error, s.messages_stored,
       s.backfill_done, s.backfill_total, coalesce(i.node, '') AS node, coalesce(l.epoch, 0) AS epoch,
       k.type, k.username, k.app_id, k.grant_kind, k.mailbox, k.account, k.sealed_refresh_token IS NOT NULL AS has_refresh_token, c.tenant_id
FROM page JOIN channels c ON c.tenant_id = page.tenant_id AND c.channel_id = page.channel_id
JOIN channel_status s ON s.tenant_id = c.tenant_id AND s.channel_id = c.channel_id
JOIN credentials k ON k.tenant_id = c.tenant_id AND k.channel_id = c.channel_id AND k.generation = c.generation
LEFT JOIN channel_leases l ON l.tenant_id = c.tenant_id AND l.channel_id = c.channel_id
LEFT JOIN incarnations i ON i.incarnation_id = l.owner
ORDER BY page.since
