-- Channels by tenant, state and kind of provider. The age of what is disabled on purpose is no news.
SELECT s.tenant_id, s.state, a.provider, count(*),
       max(CASE WHEN s.state = 'disabled' THEN 0
                ELSE greatest(extract(epoch FROM now() - coalesce(s.last_success_at, c.created_at)), 0) END)::float8
FROM channel_status s
JOIN channels c USING (tenant_id, channel_id)
LEFT JOIN credentials k ON k.tenant_id = s.tenant_id AND k.channel_id = s.channel_id AND k.generation = c.generation AND k.app_id IS NOT NULL
LEFT JOIN oauth_apps a ON a.tenant_id = k.tenant_id AND a.app_id = k.app_id
GROUP BY s.tenant_id, s.state, a.provider
