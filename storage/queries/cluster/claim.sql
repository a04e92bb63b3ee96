-- Free channels, stalest first, each with a new epoch. Only for a life that is not over. The leases are locked in whatever order: nobody waits.
WITH self AS (SELECT incarnation_id FROM incarnations WHERE incarnation_id = $1 AND ended IS NULL FOR SHARE),
free AS (
  SELECT l.tenant_id, l.channel_id
  FROM channel_leases l JOIN channel_status s USING (tenant_id, channel_id)
  WHERE l.owner IS NULL AND l.enabled AND EXISTS (SELECT 1 FROM self)
  ORDER BY s.last_success_at NULLS FIRST, l.channel_id
  LIMIT $2
  FOR NO KEY UPDATE OF l SKIP LOCKED
)
UPDATE channel_leases l SET owner = $1, epoch = l.epoch + 1, wanted = NULL
FROM free f WHERE l.tenant_id = f.tenant_id AND l.channel_id = f.channel_id
RETURNING l.tenant_id, l.channel_id, l.epoch
