-- Whoever writes a channel's status holds this row, whatever its epoch.
SELECT 1 FROM channel_leases WHERE tenant_id = $1 AND channel_id = $2 FOR NO KEY UPDATE
