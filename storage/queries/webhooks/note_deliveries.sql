INSERT INTO webhook_deliveries (tenant_id, webhook_id, state, kind, event, channel_id, position, sequence, attempts, at, took_ms, status, error, request,
                                response)
SELECT w.tenant_id, w.webhook_id, w.state, w.kind, w.event, w.channel_id, w.position, w.sequence, w.attempts, mailherd_time(w.at), w.took_ms, w.status,
       w.error, w.request, w.response
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
            $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[])
     AS w (tenant_id, webhook_id, state, kind, event, channel_id, position, sequence, attempts, at, took_ms, status, error, request, response)
