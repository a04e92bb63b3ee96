-- Repeated after a lost answer it writes the same again.
INSERT INTO blob_chunks (tenant_id, blob_id, index, bytes)
SELECT b.tenant_id, b.blob_id, $5, $6
FROM channel_leases l JOIN blobs b ON b.tenant_id = l.tenant_id AND b.blob_id = $4 AND b.channel_id = l.channel_id
WHERE l.tenant_id = $1 AND l.channel_id = $2 AND l.epoch = $3 AND l.owner IS NOT NULL
ON CONFLICT (tenant_id, blob_id, index) DO UPDATE SET bytes = excluded.bytes
