// How a channel signs in, as a form; and Connect: consent in the provider's window, watched from here.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, type FieldError, get, useLoaded, useNews } from '../api';
import { to } from '../route';
import { sentence } from '../words';
import type { Channel, Connect, Consent, Grant, OauthApp, Page, Protocol } from '../types';
import { Button, Choices, Dialog, Field, Notice, Problem, SecretOnce, Time, toast, useAct } from '../ui/ui';

export type Kind = 'password' | 'microsoft' | 'google' | 'custom';

export const kinds: { value: Kind; title: string; hint: string }[] = [
  { value: 'password', title: 'Password', hint: 'User name and password' },
  { value: 'microsoft', title: 'Microsoft Exchange', hint: 'Exchange Online and Outlook, OAuth2' },
  { value: 'google', title: 'Google', hint: 'Gmail and Workspace, OAuth2' },
  { value: 'custom', title: 'Other (OAuth2)', hint: 'Any OAuth2 provider' },
];

/** The provider's own mail host. */
export function hostOf(kind: Kind, protocol: Protocol) {
  if (kind === 'microsoft') return 'outlook.office365.com';
  if (kind === 'google') return protocol === 'imap' ? 'imap.gmail.com' : 'pop.gmail.com';
  return '';
}

export interface AuthInput {
  kind: Kind;
  username: string;
  password: string;
  app: string;
  grant: Grant;
  mailbox: string;
}
/** Somebody has to consent: in the provider's window, or with a code on another device. */
export const needsPerson = (a: AuthInput) => a.kind !== 'password' && a.grant !== 'client_credentials';

export const noAuth: AuthInput = { kind: 'password', username: '', password: '', app: '', grant: 'authorization_code', mailbox: '' };

export function authBody(a: AuthInput) {
  if (a.kind === 'password') return { type: 'basic', username: a.username, password: a.password };
  return { type: 'oauth2', app: a.app, grant: a.grant, ...(a.mailbox ? { mailbox: a.mailbox } : {}) };
}

export const kindOfApp = (app: OauthApp | undefined): Kind => app?.provider ?? 'custom';

export function useApps(tenant: string) {
  return useLoaded<Page<OauthApp>>(`/v1/tenants/${tenant}/oauth-apps?limit=1000`);
}

export function AuthForm({
  tenant,
  value,
  onValue,
  errors,
  prefix = '',
  locked,
}: {
  tenant: string;
  value: AuthInput;
  onValue: (a: AuthInput) => void;
  errors?: FieldError[];
  prefix?: string;
  locked?: boolean;
}) {
  const apps = useApps(tenant);
  const fitting = (apps.data?.items ?? []).filter((a) => a.provider === value.kind);
  const set = (part: Partial<AuthInput>) => onValue({ ...value, ...part });
  const oauth = value.kind !== 'password';
  useEffect(() => {
    if (oauth && apps.data && !fitting.some((a) => a.id === value.app)) set({ app: fitting[0]?.id ?? '' });
  }, [value.kind, apps.data]);
  return (
    <fieldset disabled={locked} class="stack">
      <Choices legend="Authentication type" name={`${prefix}kind`} value={value.kind} onValue={(kind) => set({ kind })} options={kinds} />
      {!oauth && (
        <div class="pair">
          <Field
            label="User name"
            name={`${prefix}username`}
            value={value.username}
            onValue={(username) => set({ username })}
            errors={errors}
            required
            auto="off"
          />
          <Field
            label="Password"
            name={`${prefix}password`}
            type="password"
            value={value.password}
            onValue={(password) => set({ password })}
            errors={errors}
            required
            auto="new-password"
          />
        </div>
      )}
      {oauth && apps.data && fitting.length === 0 && (
        <Notice
          tone="warn"
          title="There is no OAuth app for this provider yet"
          actions={
            <Button slim href={`${to.newApp(tenant)}?provider=${value.kind}`}>
              Register an OAuth app
            </Button>
          }
        >
          Consent is given to an application that is registered at the provider. That is done once, for all channels.
        </Notice>
      )}
      {oauth && fitting.length > 0 && (
        <>
          <div class="pair">
            <Field
              label="OAuth app"
              name={`${prefix}app`}
              value={value.app}
              onValue={(app) => set({ app })}
              errors={errors}
              options={fitting.map((a) => [a.id, a.name])}
            />
            <Field
              label="Shared mailbox"
              name={`${prefix}mailbox`}
              value={value.mailbox}
              onValue={(mailbox) => set({ mailbox })}
              errors={errors}
              placeholder="only if the account opens another one"
              hint={value.grant === 'client_credentials' ? 'The mailbox to open. Required without a person.' : undefined}
            />
          </div>
          <Choices
            legend="Who gives consent"
            name={`${prefix}grant`}
            value={value.grant}
            onValue={(grant) => set({ grant })}
            options={[
              { value: 'authorization_code', title: 'A person, in a window', hint: 'Press Connect and sign in at the provider' },
              { value: 'device_code', title: 'A person, elsewhere', hint: 'A code is shown here and entered on another device' },
              { value: 'client_credentials', title: 'The organisation', hint: "The application's own right, no person" },
            ]}
          />
        </>
      )}
    </fieldset>
  );
}

// ---- Connect --------------------------------------------------------------------------------------------------------------------------------

export type Connecting =
  | { step: 'idle' }
  | { step: 'waiting'; url: string; code?: string; page?: string; refused?: string }
  | { step: 'closed'; refused?: string }
  | { step: 'failed'; error: ApiError }
  | { step: 'done'; channel: Channel };

interface Watch {
  before: Channel;
  popup: Window | null;
  timer: number;
  closedAt: number;
  url: string;
  code?: string;
  page?: string;
}

/** Opens the provider's window and watches the channel until the consent is there. The window belongs to the provider: nothing is read of it. */
export function useConnect(tenant: string, onDone?: (c: Channel) => void) {
  const [state, set] = useState<Connecting>({ step: 'idle' });
  const watch = useRef<Watch | null>(null);
  const end = () => {
    if (watch.current) clearInterval(watch.current.timer);
    watch.current = null;
  };
  useEffect(() => end, []);

  const look = async () => {
    const w = watch.current;
    if (!w) return;
    const path = `/v1/tenants/${tenant}/channels/${w.before.id}`;
    const consent = await get<Consent>(`${path}/connect`).catch(() => null);
    if (watch.current !== w) return;
    if (consent?.state === 'done') {
      const now = await get<Channel>(path).catch(() => null);
      if (watch.current !== w || !now) return;
      end();
      w.popup?.close();
      set({ step: 'done', channel: now });
      toast(`Connected as ${now.auth.account ?? consent.account}`);
      onDone?.(now);
      return;
    }
    const refused = consent?.state === 'failed' ? sentence(consent.detail ?? 'the consent came to nothing') : undefined;
    if (w.popup?.closed) {
      // The answer may still be on its way when the window is gone.
      w.closedAt ||= Date.now();
      if (Date.now() - w.closedAt > 3000) {
        end();
        set({ step: 'closed', refused });
      }
    } else {
      set({ step: 'waiting', url: w.url, code: w.code, page: w.page, refused });
    }
  };
  useNews((news) => {
    if (news.kind !== 'mail' && (news.kind === 'all' || news.channel === watch.current?.before.id)) void look();
  });

  /**
   * In the click itself, or the browser refuses the window. `channel`: what to connect, perhaps made only now. A device's code needs no window: it is
   * shown here and entered anywhere.
   */
  const start = async (channel: () => Promise<Channel>, hint?: string | null, device = false) => {
    end();
    const popup = device ? null : window.open('', 'mailherd-connect', 'popup,width=560,height=760');
    try {
      const before = await channel();
      const answer = await call<Connect>('POST', `/v1/tenants/${tenant}/channels/${before.id}/connect`, {
        ...(device ? { flow: 'device' } : { bind_browser: true, ...(hint ? { login_hint: hint } : {}) }),
      });
      const url = answer.authorize_url ?? answer.verification_uri_complete ?? answer.verification_uri ?? '';
      if (popup && !popup.closed) popup.location.href = url;
      const shown = { url, code: answer.user_code, page: answer.verification_uri };
      watch.current = { before, popup, closedAt: 0, ...shown, timer: window.setInterval(look, 1500) };
      set({ step: 'waiting', ...shown });
    } catch (error) {
      popup?.close();
      set({ step: 'failed', error: error as ApiError });
    }
  };
  return {
    state,
    start,
    cancel: () => {
      end();
      set({ step: 'idle' });
    },
  };
}

export function ConnectNotice({ state, cancel }: { state: Connecting; cancel: () => void }) {
  if (state.step === 'waiting') {
    return (
      <Notice
        tone={state.refused ? 'warn' : 'busy'}
        title={state.refused ? 'Nothing was changed yet' : 'Waiting for consent'}
        live
        actions={
          <>
            <a class="button slim" href={state.url} target="mailherd-connect" rel="opener">
              {state.code ? 'Open the page here' : 'Open the window again'}
            </a>
            <Button slim kind="quiet" onClick={cancel}>
              Stop waiting
            </Button>
          </>
        }
      >
        {state.refused ? (
          <>{state.refused} Go on in the window, or press the button again.</>
        ) : state.code ? (
          <>
            On any device, open <span class="mono wrap-any">{state.page}</span>, enter the code{' '}
            <b class="mono device-code">{state.code}</b> and sign in with the account that owns the mailbox.
          </>
        ) : (
          <>Sign in with the account that owns the mailbox and allow access in the provider's window. Nothing changes until that is done.</>
        )}
      </Notice>
    );
  }
  if (state.step === 'closed')
    return (
      <Notice tone="warn" title={state.refused ? 'Nothing was changed' : 'The window was closed before consent was given'} live>
        {state.refused ?? 'Nothing was changed.'} Press the button again when you are ready.
      </Notice>
    );
  if (state.step === 'failed')
    return (
      <Notice tone="bad" title="Connect could not begin" live>
        {state.error.message}
      </Notice>
    );
  if (state.step === 'done')
    return (
      <Notice tone="good" title={`Connected as ${state.channel.auth.account}`} live>
        {state.channel.auth.mailbox ? `Opens the shared mailbox ${state.channel.auth.mailbox}.` : 'The consent is stored.'}
      </Notice>
    );
  return null;
}

/** A link for whoever owns the mailbox: consent is given without the administrator knowing a password. */
export function OwnerLink({ c, onClose }: { c: Channel; onClose: () => void }) {
  const [made, setMade] = useState<{ url: string; expires_at: string } | null>(null);
  const act = useAct();
  useEffect(() => {
    void act.run(async () => setMade(await call('POST', `/v1/tenants/${c.tenant}/channels/${c.id}/connect`, { link: true })));
  }, []);
  return (
    <Dialog title="A link for the mailbox's owner" onClose={onClose}>
      <p class="muted">
        Send it to the person who owns {c.address || 'the mailbox'}. It works once and ends by itself; the channel connects when they have allowed
        access.
      </p>
      {act.error && <Problem error={act.error} />}
      {made && (
        <>
          <SecretOnce what="Link" value={made.url} />
          <p class="small">
            It ends <Time at={made.expires_at} />.
          </p>
        </>
      )}
      <div class="actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}
