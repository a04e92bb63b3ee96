-- One channel's lease, if its epoch still holds; locked to the end.
SELECT enabled FROM channel_leases WHERE tenant_id = $1 AND channel_id = $2 AND epoch = $3 AND owner IS NOT NULL FOR NO KEY UPDATE
