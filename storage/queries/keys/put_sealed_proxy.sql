UPDATE channels SET sealed_proxy_password = coalesce($4, $5::bytea, sealed_proxy_password) WHERE tenant_id = $1 AND channel_id = $2 AND $3::bigint = 0
