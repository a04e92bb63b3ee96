-- Free channels, each with a new epoch. Only for a life that is not over. One channel of each tenant, then the second of each ...: nodes that
-- claim at once share every tenant; of a tenant the stalest first (and the pacer lets the stalest of all sign in first). The leases are locked
-- in whatever order: nobody waits.
WITH self AS (SELECT incarnation_id FROM incarnations WHERE incarnation_id = $1 AND ended IS NULL FOR SHARE),
pick AS MATERIALIZED (
  SELECT l.tenant_id, l.channel_id,
         row_number() OVER (PARTITION BY l.tenant_id ORDER BY s.last_success_at NULLS FIRST, l.channel_id) AS nth, s.last_success_at
  FROM channel_leases l JOIN channel_status s USING (tenant_id, channel_id)
  WHERE l.owner IS NULL AND l.enabled AND EXISTS (SELECT 1 FROM self)
), free AS (
  SELECT l.tenant_id, l.channel_id
  FROM pick p JOIN channel_leases l USING (tenant_id, channel_id)
  WHERE l.owner IS NULL AND l.enabled
  ORDER BY p.nth, p.last_success_at NULLS FIRST, l.channel_id
  LIMIT $2
  FOR NO KEY UPDATE OF l SKIP LOCKED
)
UPDATE channel_leases l SET owner = $1, epoch = l.epoch + 1, wanted = NULL, wanted_at = NULL, ready = NULL, passed_at = NULL
FROM free f WHERE l.tenant_id = f.tenant_id AND l.channel_id = f.channel_id
RETURNING l.tenant_id, l.channel_id, l.epoch
