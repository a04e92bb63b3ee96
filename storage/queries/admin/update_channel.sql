UPDATE channels
SET name = $3, address = $4, enabled = $5, protocol = $6, host = $7, port = $8, tls = $9, folder = $10, proxy_kind = $11, proxy_host = $12,
    proxy_port = $13, proxy_username = $14, sealed_proxy_password = $15, start_kind = $16, start_at = mailherd_time($17), after_fetch = $18,
    revision = revision + 1, server = server + CASE WHEN host <> $7 OR port <> $8 THEN 1 ELSE 0 END
WHERE tenant_id = $1 AND channel_id = $2
