-- Those that belong to messages from now on: a blob belongs to those of the first commit that names it.
UPDATE blobs SET message_at = now()
FROM unnest($1::bigint[], $2::bigint[]) AS w (tenant_id, blob_id)
WHERE blobs.tenant_id = w.tenant_id AND blobs.blob_id = w.blob_id AND blobs.message_at IS NULL
RETURNING blobs.blob_id
