-- With received_at, which names the partition.
SELECT substring(body FROM $4::int FOR $5::int) FROM messages WHERE tenant_id = $1 AND position = $2 AND received_at = mailherd_time($3)
