-- People's consents, and what is needed to keep the grants that come of them alive.

-- One request for a person's consent: a browser's way to the provider and back, a link that was sent to a mailbox's owner, or a device code.
-- Short-lived. What is sealed here is not in the list of what is sealed anew with a new key: a request that was begun under a key that is
-- gone is begun again.
CREATE SEQUENCE consent_ids;
CREATE TABLE consents (
  tenant_id bigint NOT NULL,
  consent_id bigint NOT NULL DEFAULT nextval('consent_ids'),
  channel_id bigint NOT NULL,
  generation bigint NOT NULL,               -- the newest credential when it began: another one since then, and the consent is void
  app_id bigint NOT NULL,
  flow text NOT NULL,                       -- browser, link, device
  state text NOT NULL DEFAULT 'pending',    -- pending, done, failed
  digest bytea UNIQUE,                      -- SHA-256 of the state, or of the link's token; the value itself is stored nowhere. Device: none
  taken_at timestamptz,                     -- browser: its one return has come
  uses integer NOT NULL DEFAULT 0,          -- link: times it was followed
  browser bytea,                            -- SHA-256 of the cookie of the browser that began; null: any browser may return
  redirect_uri text NOT NULL DEFAULT '',
  sealed_secret bytea,                      -- PKCE verifier or device code; context "consent/<tenant>/<consent>/secret"
  nonce text NOT NULL DEFAULT '',
  login_hint text NOT NULL DEFAULT '',
  any_account boolean NOT NULL DEFAULT false,   -- whoever consents is meant
  other_account text NOT NULL DEFAULT '',       -- this one is as good as the channel's own address
  pick_account boolean NOT NULL DEFAULT false,
  return_to text NOT NULL DEFAULT '',       -- a path of the console
  link_id bigint,                           -- the link that was followed
  user_code text NOT NULL DEFAULT '',
  verification_uri text NOT NULL DEFAULT '',
  poll_seconds integer NOT NULL DEFAULT 0,
  account text NOT NULL DEFAULT '',         -- who consented
  detail text NOT NULL DEFAULT '',          -- why it failed, for people
  actor text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, consent_id)
);
CREATE INDEX consents_of_channel ON consents (tenant_id, channel_id, consent_id);
CREATE INDEX consents_by_age ON consents (expires_at);

ALTER TABLE consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE consents FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON consents USING ((SELECT current_setting('mailherd.tenant', true)) IN ('*', tenant_id::text));

ALTER TABLE oauth_apps
  ADD COLUMN issuer text NOT NULL DEFAULT '',
  ADD COLUMN sealed_next_secret bytea,      -- context "app/<tenant>/<app>/next_secret"
  ADD COLUMN secret_expires_at timestamptz,
  ADD COLUMN revision bigint NOT NULL DEFAULT 1,
  -- The incident, one for all channels that sign in with the app: since when its registration does not work, and why.
  ADD COLUMN blocked_since timestamptz,
  ADD COLUMN blocked_until timestamptz,     -- it is asked again no earlier, by whichever channel comes first
  ADD COLUMN blocked_detail text NOT NULL DEFAULT '';

-- The generation that served before the present one: its credential is kept for going back.
ALTER TABLE channel_status ADD COLUMN previous_generation bigint NOT NULL DEFAULT 0;
