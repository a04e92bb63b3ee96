-- Partitions of $1 that hold nothing newer than $2 days. Their names end in YYYYMM.
SELECT c.relname
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_class p ON p.oid = h.inhparent
WHERE p.oid = $1::text::regclass AND to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' <= now() - $2 * interval '1 day'
