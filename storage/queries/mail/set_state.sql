-- What a channel's fetcher says of it. $13 is the account that the credential turned out to belong to; empty: nothing is known.
WITH named AS (
  UPDATE credentials SET account = $13 WHERE tenant_id = $1 AND channel_id = $2 AND generation = $9 AND account <> $13 AND $13 <> ''
)
UPDATE channel_status
SET since = CASE WHEN state = $3 AND reason = $4 THEN since ELSE now() END,
    state = $3, reason = $4, detail = $5, next_attempt_at = mailherd_time($6), throttled_until = mailherd_time($7),
    last_success_at = greatest(last_success_at, mailherd_time($8)), observed_generation = coalesce($9, observed_generation),
    previous_generation = CASE WHEN $9 <> observed_generation AND observed_generation <> 0 THEN observed_generation ELSE previous_generation END,
    switching = coalesce($10, switching), switch_error = CASE WHEN $10::text IS NULL THEN switch_error ELSE $11 END,
    token_expires_at = coalesce(mailherd_time($12), token_expires_at),
    backfill_done = CASE WHEN $3 = 'active' THEN NULL ELSE backfill_done END,
    backfill_total = CASE WHEN $3 = 'active' THEN NULL ELSE backfill_total END
WHERE tenant_id = $1 AND channel_id = $2
