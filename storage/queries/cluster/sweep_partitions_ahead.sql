SELECT mailherd_make_partition(parent, now() + months * interval '1 month')
FROM unnest(ARRAY['messages', 'bodies', 'outbox', 'channel_events']) AS parent, generate_series(0, 2) AS months
