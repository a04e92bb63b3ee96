-- Nobody claims these channels, and their owners write nothing more (the commit asks for `enabled`). In the order of all who lock leases.
UPDATE channel_leases l SET enabled = false, wanted = NULL
FROM (SELECT tenant_id, channel_id FROM channel_leases WHERE tenant_id = $1 ORDER BY channel_id FOR NO KEY UPDATE) AS w
WHERE l.tenant_id = w.tenant_id AND l.channel_id = w.channel_id
