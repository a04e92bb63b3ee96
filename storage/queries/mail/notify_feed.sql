-- After the commit, in a transaction of its own: NOTIFY inside it would make all commits of the database wait for each other.
SELECT pg_notify('mailherd_feed', t::text) FROM unnest($1::bigint[]) AS w (t)
