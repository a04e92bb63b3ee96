-- Many healthy channels at once. A channel whose row somebody holds is left out: its next sign of life comes soon.
WITH held AS (
  SELECT l.tenant_id, l.channel_id, w.at
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS w (tenant_id, channel_id, epoch, at)
  JOIN channel_leases l ON l.tenant_id = w.tenant_id AND l.channel_id = w.channel_id AND l.epoch = w.epoch
  WHERE l.owner IS NOT NULL
  FOR NO KEY UPDATE OF l SKIP LOCKED
)
UPDATE channel_status s SET last_success_at = greatest(s.last_success_at, mailherd_time(h.at))
FROM held h WHERE s.tenant_id = h.tenant_id AND s.channel_id = h.channel_id
