-- $3 seconds a slice, $4 slices up to now, of the channel's newest $5 messages: asked for by time alone, a busy channel's whole month would be read. Mail
-- that was in the mailbox for longer than a day when it was fetched (a backfill) is counted, but says nothing about how fast this is.
SELECT mailherd_us(date_bin($3::bigint * interval '1 second', n.received_at, timestamptz '2000-01-01 00:00:00+00')) AS slice, count(*),
       coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY n.lag) FILTER (WHERE n.lag < 86400), 0)::float8
FROM (
  SELECT m.received_at, greatest(extract(epoch FROM m.received_at - m.internal_date), 0) AS lag
  FROM messages m
  WHERE m.tenant_id = $1 AND m.channel_id = $2
  ORDER BY m.position DESC LIMIT $5
) AS n
WHERE n.received_at > now() - $3::bigint * $4::bigint * interval '1 second'
GROUP BY 1 ORDER BY 1
