-- Of blobs that this transaction claimed: bodies whose messages were stored before, from another blob or in a row.
DELETE FROM bodies b USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS w (tenant_id, blob_id, index)
WHERE b.tenant_id = w.tenant_id AND b.blob_id = w.blob_id AND b.index = w.index
