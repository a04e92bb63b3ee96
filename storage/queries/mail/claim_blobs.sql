UPDATE blobs SET message_at = now()
FROM unnest($1::bigint[], $2::bigint[]) AS w (tenant_id, blob_id) WHERE blobs.tenant_id = w.tenant_id AND blobs.blob_id = w.blob_id
