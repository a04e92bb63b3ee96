-- Gives out sequence numbers: the answer holds each channel's newest.
UPDATE channel_status s
SET last_sequence = s.last_sequence + w.n, messages_stored = s.messages_stored + w.n,
    backfill_done = coalesce(w.done, s.backfill_done), backfill_total = coalesce(w.total, s.backfill_total),
    last_success_at = CASE WHEN w.n > 0 THEN now() ELSE s.last_success_at END
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS w (tenant_id, channel_id, n, done, total)
WHERE s.tenant_id = w.tenant_id AND s.channel_id = w.channel_id
RETURNING s.tenant_id, s.channel_id, s.last_sequence
