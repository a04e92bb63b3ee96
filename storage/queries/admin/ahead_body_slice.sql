SELECT substring(bytes FROM $4::int FOR $5::int) FROM bodies WHERE tenant_id = $1 AND blob_id = $2 AND index = $3
