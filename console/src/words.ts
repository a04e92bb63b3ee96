// What the API's names are called in front of people, and how numbers and times are written.
import type { Channel, Grant, Provider, State } from './types';

export type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'off';

export const states: Record<State, { name: string; tone: Tone; order: number }> = {
  needs_reauth: { name: 'Sign-in needed', tone: 'bad', order: 0 },
  app_blocked: { name: 'OAuth app blocked', tone: 'bad', order: 1 },
  needs_admin: { name: 'Administrator needed', tone: 'bad', order: 2 },
  consent_pending: { name: 'Not connected', tone: 'warn', order: 3 },
  backoff: { name: 'Retrying', tone: 'warn', order: 4 },
  throttled: { name: 'Throttled', tone: 'warn', order: 5 },
  connecting: { name: 'Connecting', tone: 'busy', order: 6 },
  backfilling: { name: 'Catching up', tone: 'busy', order: 7 },
  active: { name: 'Active', tone: 'good', order: 8 },
  disabled: { name: 'Disabled', tone: 'off', order: 9 },
};

export const providers: Record<Provider, string> = { microsoft: 'Microsoft', google: 'Google', custom: 'Other' };
export const grants: Record<Grant, string> = {
  authorization_code: "a person's consent",
  client_credentials: "the application's own right",
  device_code: 'a device code',
};
export const testSteps: Record<string, string> = {
  dns: 'Find the server',
  tcp: 'Reach the server',
  proxy: 'Pass the proxy',
  tls: 'Encrypt the connection',
  token: 'Get an access token',
  greeting: 'Server greets',
  authentication: 'Sign in',
  mailbox: 'Open the mailbox',
  count: 'Count the messages',
};
const kinds: Record<string, string> = {
  created: 'Created',
  edited: 'Settings changed',
  state: 'State',
  switch: 'Switch of sign-in',
  credential: 'New credentials',
  test: 'Test',
  move: 'Moved',
  moved: 'Moved',
  connect: 'Connect',
  consent: 'Consent',
  rollback: 'Rolled back',
};
export const kindOf = (kind: string) => kinds[kind] ?? kind[0].toUpperCase() + kind.slice(1).replace(/_/g, ' ');

export const reasonOf = (reason: string | null) => (reason ? reason.replace(/_/g, ' ') : '');

export function authWords(c: Channel) {
  if (c.auth.type === 'basic') return 'Password';
  return c.auth.grant === 'client_credentials' ? 'OAuth2, application' : 'OAuth2';
}

/** What the serving or wanted sign-in needs from a person now: the button's name, or nothing. */
export function reconnectWords(c: Channel): 'Connect' | 'Reconnect' | null {
  if (c.auth.type !== 'oauth2' || c.auth.grant === 'client_credentials') return null;
  if (c.state === 'consent_pending') return 'Connect';
  if (c.state === 'needs_reauth') return 'Reconnect';
  // A switch to a grant that is not there yet: the old credential serves meanwhile.
  if (c.auth.switch.state === 'running' && !c.auth.account) return 'Connect';
  return c.auth.switch.state === 'failed' && /consent|token|account/.test(c.auth.switch.error ?? '') ? 'Reconnect' : null;
}

const number = new Intl.NumberFormat('en');
export const count = (n: number) => number.format(n);
export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n: number) {
  const units = ['B', 'KB', 'MB', 'GB'];
  let i = 0;
  while (n >= 1024 && i < 3) {
    n /= 1024;
    i++;
  }
  return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export function span(seconds: number) {
  const s = Math.abs(seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 90) return `${s < 10 ? +s.toFixed(1) : Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return plural(Math.round(s / 86400), 'day');
}

export function ago(at: string, now = Date.now()) {
  const seconds = (now - Date.parse(at)) / 1000;
  if (Math.abs(seconds) < 5) return 'just now';
  return seconds > 0 ? `${span(Math.round(seconds))} ago` : `in ${span(Math.round(-seconds))}`;
}

const full = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
export const clock = (at: string) => full.format(new Date(at));
const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });
export const date = (at: string) => day.format(new Date(at));

export const person = (a: { name: string; address: string } | undefined) => (a ? a.name || a.address : 'unknown');

/** A text of the API as a sentence. An address it begins with stays as it is. */
export function sentence(text: string) {
  const first = /^\S*@/.test(text) ? text.slice(0, 1) : text.slice(0, 1).toUpperCase();
  return text && `${first}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}
