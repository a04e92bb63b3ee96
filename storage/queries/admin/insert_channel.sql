INSERT INTO channels (tenant_id, channel_id, name, address, enabled, protocol, host, port, tls, folder, proxy_kind, proxy_host, proxy_port,
                      proxy_username, sealed_proxy_password, start_kind, start_at, after_fetch)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, mailherd_time($17), $18)
