-- Node $2 (life $1) can take these over ($5: as soon as the owner has logged out), or cannot ($6).
UPDATE channel_leases l
SET ready = CASE WHEN f.refused THEN NULL ELSE $1::bigint END, ready_alone = f.alone, refused_at = CASE WHEN f.refused THEN now() ELSE l.refused_at END
FROM (
  SELECT x.tenant_id, x.channel_id, w.alone, w.refused
  FROM unnest($3::bigint[], $4::bigint[], $5::boolean[], $6::boolean[]) AS w (tenant_id, channel_id, alone, refused)
  JOIN channel_leases x ON x.tenant_id = w.tenant_id AND x.channel_id = w.channel_id
  WHERE x.wanted = $2 AND x.owner <> $1
  ORDER BY x.tenant_id, x.channel_id
  FOR NO KEY UPDATE OF x
) AS f
WHERE l.tenant_id = f.tenant_id AND l.channel_id = f.channel_id
