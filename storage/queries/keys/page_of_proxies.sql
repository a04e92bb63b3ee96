SELECT tenant_id, channel_id, 0, sealed_proxy_password, NULL::bytea FROM channels
WHERE (tenant_id, channel_id, 0) > ($1, $2, $3) AND sealed_proxy_password IS NOT NULL
ORDER BY tenant_id, channel_id LIMIT $4
