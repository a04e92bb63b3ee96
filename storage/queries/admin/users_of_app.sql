-- Two channels whose newest or serving credential names the app, if there are as many.
SELECT DISTINCT channel_id, name FROM (
  SELECT c.channel_id, c.name
  FROM credentials k JOIN channels c USING (tenant_id, channel_id) JOIN channel_status s USING (tenant_id, channel_id)
  WHERE k.tenant_id = $1 AND k.app_id = $2 AND k.generation IN (c.generation, s.observed_generation)
  LIMIT 4   -- a channel can be here twice, by two generations
) AS users LIMIT 2
