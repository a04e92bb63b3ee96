-- Leases that nobody holds; the others go when their owner gives them back.
DELETE FROM channel_leases WHERE tenant_id = $1 AND owner IS NULL
