-- Bodies written ahead of the commit that names them, so that the megabytes of a backfill are written while the mailbox's former part is being committed:
-- a commit holds the lease, numbers and feed for as long as it takes to write short rows. Which form a body has stands in its message:
-- body_index set: bodies (blob_id, body_index); else blob_id set: blob_chunks; else in the row. A blob that no message names yet is unclaimed
-- (blobs.message_at) and is swept after a day.
-- A program of an older schema goes on storing and serving its mail; what it cannot read is a body that a newer one wrote ahead, and says so.
CREATE TABLE bodies (
  tenant_id bigint NOT NULL,
  blob_id bigint NOT NULL,                  -- those written together
  index integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  bytes bytea NOT NULL,
  PRIMARY KEY (tenant_id, blob_id, index, created_at)
) PARTITION BY RANGE (created_at);
ALTER TABLE bodies ALTER COLUMN bytes SET STORAGE EXTERNAL;   -- as messages.body

ALTER TABLE messages ADD COLUMN body_index integer;

CREATE OR REPLACE FUNCTION mailherd_make_partition(parent text, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  first_day date := date_trunc('month', at AT TIME ZONE 'UTC')::date;
  child text := format('%s_%s', parent, to_char(first_day, 'YYYYMM'));
BEGIN
  IF to_regclass(child) IS NULL THEN
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
                   first_day::text || ' 00:00:00+00', (first_day + interval '1 month')::date::text || ' 00:00:00+00');
    IF parent = 'messages' THEN
      EXECUTE format('ALTER TABLE %I ALTER COLUMN body SET STORAGE EXTERNAL', child);
    ELSIF parent = 'bodies' THEN
      EXECUTE format('ALTER TABLE %I ALTER COLUMN bytes SET STORAGE EXTERNAL', child);
    END IF;
  END IF;
END $$;
SELECT mailherd_make_partition('bodies', now() + months * interval '1 month') FROM generate_series(-1, 2) AS months;

ALTER TABLE bodies ENABLE ROW LEVEL SECURITY;
ALTER TABLE bodies FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON bodies USING ((SELECT current_setting('mailherd.tenant', true)) IN ('*', tenant_id::text));
