-- Samples of attempts live for days; what was given up lives as long as the endpoint.
WITH states AS (DELETE FROM channel_states WHERE at < now() - $2::bigint * interval '1 day')
DELETE FROM webhook_deliveries WHERE at < now() - $1::bigint * interval '1 day' AND state IN ('delivered', 'failed')
