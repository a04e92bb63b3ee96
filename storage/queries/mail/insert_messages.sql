-- One statement for all messages of a group: their bodies come as one binary value ($18) and are cut out by offset and length, since an array of
-- bodies would have to be written and read as text of twice the size. Digests as in insert_identities.
-- Of a body written ahead only its place is given: blob and $20.
INSERT INTO messages (tenant_id, position, channel_id, sequence, internal_date, size, uid_validity, uid, blob_id, has_body, protocol, folder,
                      uidl, problem, envelope, digest, body, body_index)
SELECT w.tenant_id, w.position, w.channel_id, w.sequence, mailherd_time(w.internal_date), w.size, w.uid_validity, w.uid, w.blob_id, w.has_body,
       w.protocol, w.folder, w.uidl, w.problem, w.envelope::json, substring($19::bytea FROM (32 * (w.ord - 1) + 1)::int FOR 32),
       CASE WHEN w.length >= 0 THEN substring($18::bytea FROM (w.first + 1)::int FOR w.length::int) END, w.body_index
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::boolean[],
            $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[], $17::bigint[], $20::bigint[])
     WITH ORDINALITY AS w (tenant_id, position, channel_id, sequence, internal_date, size, uid_validity, uid, blob_id, has_body,
                           protocol, folder, uidl, problem, envelope, first, length, body_index, ord)
