-- Kept: the newest, the one that serves, what came after it, and the one that served before, for going back.
DELETE FROM credentials k USING channels c JOIN channel_status s USING (tenant_id, channel_id)
WHERE k.tenant_id = c.tenant_id AND k.channel_id = c.channel_id AND k.generation < least(c.generation, s.observed_generation)
  AND k.generation <> s.previous_generation
