-- Channels by tenant and state, of the throttled ones also by provider. Read every few seconds: one pass over the status, the rest is looked up
-- for the few that need it. The age of what is disabled on purpose is no news.
SELECT s.tenant_id, s.state, NULL AS provider, count(*),
       coalesce(greatest(extract(epoch FROM now() - min(CASE WHEN s.state <> 'disabled' THEN coalesce(s.last_success_at,
         (SELECT c.created_at FROM channels c WHERE c.tenant_id = s.tenant_id AND c.channel_id = s.channel_id)) END)), 0), 0)::float8
FROM channel_status s WHERE s.state <> 'throttled'
GROUP BY s.tenant_id, s.state
UNION ALL
SELECT s.tenant_id, s.state, a.provider, count(*),
       greatest(extract(epoch FROM now() - min(coalesce(s.last_success_at, c.created_at))), 0)::float8
FROM channel_status s
JOIN channels c USING (tenant_id, channel_id)
LEFT JOIN credentials k ON k.tenant_id = s.tenant_id AND k.channel_id = s.channel_id AND k.generation = c.generation
LEFT JOIN oauth_apps a ON a.tenant_id = k.tenant_id AND a.app_id = k.app_id
WHERE s.state = 'throttled'
GROUP BY s.tenant_id, s.state, a.provider
