UPDATE webhook_cursors c
SET message_position = w.message_position, state_position = w.state_position, failures = w.failures, failing_since = mailherd_time(w.failing_since),
    open_until = mailherd_time(w.open_until)
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
     AS w (tenant_id, webhook_id, epoch, revision, message_position, state_position, failures, failing_since, open_until)
WHERE c.tenant_id = w.tenant_id AND c.webhook_id = w.webhook_id AND c.owner = $1 AND c.epoch = w.epoch AND c.revision = w.revision
RETURNING c.tenant_id, c.webhook_id
