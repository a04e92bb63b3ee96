-- The handover itself: owner and epoch change together, and only if the life that is to take over ($5) is still the one that is wanted, and
-- lives. From here on the former owner can write nothing.
UPDATE channel_leases l SET owner = f.heir, epoch = l.epoch + 1, wanted = NULL, wanted_at = NULL, ready = NULL, passed_at = clock_timestamp()
FROM (
  SELECT x.tenant_id, x.channel_id, w.heir
  FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS w (tenant_id, channel_id, epoch, heir)
  JOIN channel_leases x ON x.tenant_id = w.tenant_id AND x.channel_id = w.channel_id AND x.epoch = w.epoch
  JOIN incarnations i ON i.incarnation_id = w.heir
  WHERE x.owner = $1 AND x.ready = w.heir AND x.wanted = i.node AND i.ended IS NULL AND i.expires_at > now()
  ORDER BY x.tenant_id, x.channel_id
  FOR NO KEY UPDATE OF x
) AS f
WHERE l.tenant_id = f.tenant_id AND l.channel_id = f.channel_id
