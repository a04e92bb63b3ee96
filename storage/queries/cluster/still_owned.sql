-- Of these leases, those that life $1 still holds.
SELECT l.channel_id
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS w (tenant_id, channel_id, epoch)
JOIN channel_leases l ON l.tenant_id = w.tenant_id AND l.channel_id = w.channel_id AND l.epoch = w.epoch
WHERE l.owner = $1
