SELECT pg_notify('mailherd_channel', $1::bigint::text || ' ' || $2::bigint::text)
