-- Sealed values in the order of the key, after the row ($1, $2, $3).
SELECT tenant_id, channel_id, generation, sealed_password, sealed_refresh_token FROM credentials
WHERE (tenant_id, channel_id, generation) > ($1, $2, $3) AND (sealed_password IS NOT NULL OR sealed_refresh_token IS NOT NULL)
ORDER BY tenant_id, channel_id, generation LIMIT $4
