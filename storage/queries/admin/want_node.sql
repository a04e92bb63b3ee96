-- Wishes a channel onto node $3. The owner may be that node already: then there is nothing to wish.
UPDATE channel_leases l
SET wanted = CASE WHEN i.node <> $3 THEN $3 END, wanted_why = 'move', wanted_at = CASE WHEN i.node <> $3 THEN now() END, ready = NULL, ready_alone = false
FROM incarnations i
WHERE l.tenant_id = $1 AND l.channel_id = $2 AND l.enabled AND i.incarnation_id = l.owner AND i.ended IS NULL
