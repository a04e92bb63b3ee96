-- Who is signed in to the console. What the browser holds is never stored, only its SHA-256: a copy of the database opens no session.
CREATE TABLE console_sessions (
  session bytea PRIMARY KEY,
  tenant_id bigint,                         -- null: an operator
  api_key_id bigint,                        -- the tenant's key it was opened with
  operator_token bytea,                     -- keyed digest of the operator's token it was opened with
  created_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  CHECK ((tenant_id IS NULL) = (api_key_id IS NULL) AND (tenant_id IS NULL) = (operator_token IS NOT NULL))
);
CREATE INDEX console_sessions_by_age ON console_sessions (expires_at);

ALTER TABLE console_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE console_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON console_sessions USING ((SELECT current_setting('mailherd.tenant', true)) IN ('*', tenant_id::text));
