INSERT INTO blobs (tenant_id, channel_id)
SELECT tenant_id, channel_id FROM channel_leases WHERE tenant_id = $1 AND channel_id = $2 AND epoch = $3 AND owner IS NOT NULL
RETURNING blob_id
