-- $2: how long a session may stay unused, in seconds. One that a key opened ends with it.
SELECT s.tenant_id, s.api_key_id, s.operator_token, mailherd_us(s.expires_at), s.seen_at < now() - interval '1 minute'
FROM console_sessions s
WHERE s.session = $1 AND s.expires_at > now() AND s.seen_at > now() - $2::bigint * interval '1 second'
  AND (s.tenant_id IS NULL OR EXISTS (SELECT 1 FROM api_keys k WHERE k.tenant_id = s.tenant_id AND k.api_key_id = s.api_key_id))
