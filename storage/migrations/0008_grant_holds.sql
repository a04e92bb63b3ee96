-- Who renews a channel's grant at the moment, whichever node it is on: a provider that gives each refresh token one use takes two that come at
-- once for a theft, and the grant is gone.
CREATE TABLE grant_holds (
  tenant_id bigint NOT NULL,
  channel_id bigint NOT NULL,
  holder bigint NOT NULL,                   -- one life of one token refresher
  until timestamptz NOT NULL,               -- whoever died while he held it is waited for no longer than this
  PRIMARY KEY (tenant_id, channel_id)
) WITH (fillfactor = 60);

ALTER TABLE grant_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE grant_holds FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON grant_holds USING ((SELECT current_setting('mailherd.tenant', true)) IN ('*', tenant_id::text));
