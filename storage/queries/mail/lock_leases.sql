-- The units of a group whose epoch still holds. Their lease rows stay locked to the end, in the order (tenant, channel). `enabled` stands in the
-- locked row itself: who waited here for the deletion of a channel sees it, while a look into channels would show what was before.
SELECT w.ord
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (tenant_id, channel_id, epoch, ord)
JOIN channel_leases l ON l.tenant_id = w.tenant_id AND l.channel_id = w.channel_id AND l.epoch = w.epoch
WHERE l.owner IS NOT NULL AND l.enabled
ORDER BY l.tenant_id, l.channel_id
FOR NO KEY UPDATE OF l
