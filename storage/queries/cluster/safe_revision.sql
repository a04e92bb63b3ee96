-- Every transaction before this one is over, and what it changed is visible.
SELECT (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint
