-- The chunk that holds byte $3, and the byte it begins with. Lengths stand in the rows: no chunk is read for this.
SELECT index, first FROM (
  SELECT index, octet_length(bytes) AS length, sum(octet_length(bytes)) OVER (ORDER BY index) - octet_length(bytes) AS first
  FROM blob_chunks WHERE tenant_id = $1 AND blob_id = $2
) AS chunks
WHERE first + length > $3 ORDER BY index LIMIT 1
