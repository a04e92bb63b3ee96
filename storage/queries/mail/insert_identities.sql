-- What is in the ledger already is left out of the answer. $10, $11: digests of 32 bytes each, end to end; all zero is none.
INSERT INTO ledger (tenant_id, channel_id, server, uid_validity, uid, size, internal_date, has_body, folder, uidl, digest, header_digest, after_fetch)
SELECT w.tenant_id, w.channel_id, w.server, w.uid_validity, w.uid, w.size, mailherd_time(w.internal_date), w.has_body, w.folder, w.uidl,
       CASE WHEN w.has_body THEN substring($10::bytea FROM (32 * (w.ord - 1) + 1)::int FOR 32) END,
       CASE WHEN w.has_headers THEN substring($11::bytea FROM (32 * (w.ord - 1) + 1)::int FOR 32) END,
       nullif(w.after_fetch, 'keep')
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[], $9::text[], $12::boolean[], $13::bigint[],
            $14::text[])
     WITH ORDINALITY AS w (tenant_id, channel_id, uid_validity, uid, size, internal_date, has_body, folder, uidl, has_headers, server, after_fetch, ord)
ON CONFLICT (tenant_id, channel_id, server, folder, uid_validity, uid, uidl) DO NOTHING
RETURNING channel_id, uid_validity, uid, folder, uidl, server
