SELECT pg_notify('mailherd_state', $1::bigint::text || ' ' || $2::bigint::text)
