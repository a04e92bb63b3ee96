-- Seen by their new owner.
UPDATE channel_leases l SET passed_at = NULL
FROM (
  SELECT x.tenant_id, x.channel_id
  FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS w (tenant_id, channel_id, epoch)
  JOIN channel_leases x ON x.tenant_id = w.tenant_id AND x.channel_id = w.channel_id AND x.epoch = w.epoch
  WHERE x.owner = $1
  ORDER BY x.tenant_id, x.channel_id
  FOR NO KEY UPDATE OF x
) AS f
WHERE l.tenant_id = f.tenant_id AND l.channel_id = f.channel_id
