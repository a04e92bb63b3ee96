-- A person has changed what the state was about.
UPDATE channel_status SET state = $3, reason = '', detail = '', since = now(), next_attempt_at = NULL, throttled_until = NULL
WHERE tenant_id = $1 AND channel_id = $2
