SELECT substring(bytes FROM $4::int) FROM blob_chunks WHERE tenant_id = $1 AND blob_id = $2 AND index = $3
