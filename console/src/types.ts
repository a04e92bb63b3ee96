// The API's objects as the console uses them (docs/openapi.yaml describes them in full).

export type State =
  'disabled' | 'consent_pending' | 'connecting' | 'backfilling' | 'active' | 'throttled' | 'backoff' | 'needs_reauth' | 'needs_admin' | 'app_blocked';
export type Protocol = 'imap' | 'pop3';
export type Tls = 'implicit' | 'starttls' | 'none';
export type Grant = 'authorization_code' | 'client_credentials' | 'device_code';
export type Provider = 'microsoft' | 'google' | 'custom';

export interface Session {
  role: 'operator' | 'tenant';
  tenant: string | null;
  expires_at: string;
  public_url: string | null;
}
export interface Page<T> {
  items: T[];
  next: string | null;
}
export interface Tenant {
  id: string;
  name: string;
  limits: { max_channels: number; max_message_bytes: number };
  created_at: string;
}
export interface ApiKey {
  id: string;
  name: string;
  created_at: string;
  last_used_at: string | null;
  key?: string;
}

export interface Incoming {
  protocol: Protocol;
  host: string;
  port: number;
  tls: Tls;
  folder: string | null;
  proxy: unknown;
}
export interface Auth {
  type: 'basic' | 'oauth2';
  account: string | null;
  app?: string | null;
  grant?: Grant;
  mailbox?: string | null;
  generation: number;
  observed_generation: number;
  switch: { state: 'none' | 'running' | 'done' | 'failed'; error: string | null };
  token_expires_at: string | null;
  previous_generation?: number | null;
}
export interface Channel {
  id: string;
  tenant: string;
  name: string;
  address: string;
  enabled: boolean;
  incoming: Incoming;
  auth: Auth;
  start_from: string;
  after_fetch: 'keep' | 'seen' | 'delete';
  state: State;
  state_reason: string | null;
  state_detail: string | null;
  state_since: string;
  advice: string | null;
  node: string | null;
  lease_epoch: number;
  last_success_at: string | null;
  messages_stored: number;
  next_attempt_at: string | null;
  throttled_until: string | null;
  backfill: { done: number; total: number } | null;
  revision: number;
  created_at: string;
}
export interface ChannelEvent {
  id: string;
  at: string;
  kind: string;
  state: string | null;
  reason: string | null;
  detail: string | null;
  actor: string | null;
}
export interface TestStep {
  step: string;
  ok: boolean;
  ms: number;
  detail: string;
  advice: string | null;
  reason: string | null;
}
export interface TestReport {
  ok: boolean;
  messages: number | null;
  unseen: number | null;
  account: string | null;
  steps: TestStep[];
}
export interface OauthApp {
  id: string;
  tenant: string;
  name: string;
  provider: Provider;
  client_id: string;
  credential: 'client_secret' | 'certificate';
  certificate: string | null;
  authority: string | null;
  authorize_url: string | null;
  token_url: string | null;
  device_url: string | null;
  scopes: string[];
  created_at: string;
  client_secret_expires_at?: string | null;
  client_secret_next?: boolean;
  issuer?: string | null;
  state?: 'ok' | 'blocked';
  blocked_since?: string | null;
  blocked_detail?: string | null;
}
export interface Address {
  name: string;
  address: string;
}
export interface Message {
  id: string;
  channel: string;
  sequence: number;
  received_at: string;
  internal_date: string;
  size: number;
  from: Address[];
  to: Address[];
  cc: Address[];
  subject: string;
  date: string | null;
  message_id: string | null;
  has_body: boolean;
  problem: string | null;
}
export interface Attachment {
  index: number;
  name: string | null;
  type: string;
  size: number;
  content_id: string | null;
  inline: boolean;
}
export interface MessageDetail extends Message {
  headers: { name: string; value: string }[];
  text: string | null;
  html: string | null;
  attachments: Attachment[];
  notes: string[];
}
export interface Overview {
  states: { tenant: string; state: State; channels: number; oldest_success_age_seconds: number }[];
  attention: Channel[];
}
export interface Activity {
  slice_seconds: number;
  slices: number;
  items: { at: string; messages: number; lag_seconds: number }[];
}
export interface Node {
  name: string;
  state: 'active' | 'draining' | 'lost';
  channels: number;
  lease_age_seconds: number;
  version: string;
}
export interface Webhook {
  id: string;
  url: string;
  events: string[];
  channels: string[];
  body: 'envelope' | 'text' | 'raw';
  raw_bytes: number;
  max_in_flight: number;
  max_per_second: number | null;
  enabled: boolean;
  disabled_reason: string | null;
  circuit: 'open' | 'closed';
  next_attempt_at: string | null;
  failing_since: string | null;
  position: string;
  head: string;
  retrying: number;
  dead: number;
  old_secret_until: string | null;
  created_at: string;
  secret?: string;
}
export interface Delivery {
  id: string | null;
  state: 'delivered' | 'failed' | 'dead' | 'pending' | 'retrying';
  type: string;
  webhook_id: string;
  channel: string | null;
  sequence: number | null;
  attempts: number;
  at: string | null;
  next_attempt_at: string | null;
  ms: number | null;
  status: number | null;
  error: string | null;
  request: string | null;
  response: string | null;
}
/** Of a browser's flow, or of a device's. */
export interface Connect {
  authorize_url?: string;
  expires_at: string;
  user_code?: string;
  verification_uri?: string;
  verification_uri_complete?: string | null;
}
export interface Consent {
  flow: string;
  state: 'pending' | 'done' | 'failed' | 'expired';
  account: string | null;
  detail: string | null;
  expires_at: string;
}
export interface Setup {
  redirect_uri: string;
  admin_consent_url: string | null;
  powershell: string[] | string;
  notes: string[] | string;
}
