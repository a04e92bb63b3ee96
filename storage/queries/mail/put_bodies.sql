-- A blob of bodies, cut out of one binary value ($4) as in insert_messages; no row: another owner holds the lease.
WITH batch AS (
  INSERT INTO blobs (tenant_id, channel_id)
  SELECT tenant_id, channel_id FROM channel_leases WHERE tenant_id = $1 AND channel_id = $2 AND epoch = $3 AND owner IS NOT NULL
  RETURNING tenant_id, blob_id
), written AS (
  INSERT INTO bodies (tenant_id, blob_id, index, bytes)
  SELECT b.tenant_id, b.blob_id, w.ord - 1, substring($4::bytea FROM (w.first + 1)::int FOR w.length::int)
  FROM batch b, unnest($5::bigint[], $6::bigint[]) WITH ORDINALITY AS w (first, length, ord)
)
SELECT blob_id FROM batch
