-- Channels whose newest or serving credential names the app: the first, and how many there are.
SELECT channel_id, name, count(*) OVER ()
FROM (
  SELECT DISTINCT c.channel_id, c.name
  FROM credentials k JOIN channels c USING (tenant_id, channel_id) JOIN channel_status s USING (tenant_id, channel_id)
  WHERE k.tenant_id = $1 AND k.app_id = $2 AND k.generation IN (c.generation, s.observed_generation)
) AS users
ORDER BY channel_id
LIMIT 1
