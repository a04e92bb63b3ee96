// Adding a channel, and changing its settings.
import { useEffect, useState } from 'preact/hooks';
import { ApiError, call, useLoaded } from '../api';
import { go, to } from '../route';
import type { Channel, Protocol, TestReport, Tls } from '../types';
import { Button, Card, Check, Confirm, Field, FormError, Head, Notice, Shown, toast, useAct } from '../ui/ui';
import { AuthForm, authBody, type AuthInput, ConnectNotice, hostOf, type Kind, needsPerson, noAuth, useConnect } from './auth';
import { Report } from './report';

interface Spec {
  name: string;
  address: string;
  protocol: Protocol;
  host: string;
  port: string;
  tls: Tls;
  folder: string;
  start: 'now' | 'all' | 'at';
  since: string;
  after: 'keep' | 'seen' | 'delete';
}
const fresh: Spec = {
  name: '',
  address: '',
  protocol: 'imap',
  host: '',
  port: '',
  tls: 'implicit',
  folder: 'INBOX',
  start: 'now',
  since: '',
  after: 'keep',
};
const usual = (p: Protocol, t: Tls) => (p === 'imap' ? (t === 'implicit' ? 993 : 143) : t === 'implicit' ? 995 : 110);

function body(s: Spec) {
  return {
    name: s.name.trim() || s.address.trim(),
    address: s.address.trim(),
    incoming: {
      protocol: s.protocol,
      host: s.host.trim(),
      port: Number(s.port) || usual(s.protocol, s.tls),
      tls: s.tls,
      ...(s.protocol === 'imap' ? { folder: s.folder || 'INBOX' } : {}),
    },
    start_from: s.start === 'at' ? (s.since ? new Date(s.since).toISOString() : '') : s.start,
    after_fetch: s.after,
  };
}
const named = [
  'name',
  'address',
  'incoming.protocol',
  'incoming.host',
  'incoming.port',
  'incoming.tls',
  'incoming.folder',
  'start_from',
  'after_fetch',
  'auth.username',
  'auth.password',
  'auth.app',
  'auth.mailbox',
];

function MailboxFields({ s, set, error, focus }: { s: Spec; set: (part: Partial<Spec>) => void; error: ApiError | null; focus?: boolean }) {
  return (
    <div class="pair">
      <Field
        label="Address"
        name="address"
        type="email"
        value={s.address}
        onValue={(address) => set({ address })}
        errors={error?.fields}
        placeholder="support@example.com"
        required
        focus={focus}
      />
      <Field label="Name" name="name" value={s.name} onValue={(name) => set({ name })} errors={error?.fields} placeholder={s.address || 'Support'} />
    </div>
  );
}

function ServerFields({ s, set, error }: { s: Spec; set: (part: Partial<Spec>) => void; error: ApiError | null }) {
  const errors = error?.fields;
  return (
    <div class="stack">
      <div class="pair three">
        <Field
          label="Server"
          name="incoming.host"
          value={s.host}
          onValue={(host) => set({ host })}
          errors={errors}
          placeholder="imap.example.com"
          required
        />
        <Field
          label="Port"
          name="incoming.port"
          value={s.port}
          onValue={(port) => set({ port })}
          errors={errors}
          placeholder={String(usual(s.protocol, s.tls))}
        />
        <Field
          label="Encryption"
          name="incoming.tls"
          value={s.tls}
          onValue={(tls) => set({ tls: tls as Tls, port: '' })}
          errors={errors}
          options={[
            ['implicit', 'TLS'],
            ['starttls', 'STARTTLS'],
            ['none', 'None'],
          ]}
        />
      </div>
      <div class="pair">
        <Field
          label="Protocol"
          name="incoming.protocol"
          value={s.protocol}
          onValue={(p) => set({ protocol: p as Protocol, port: '', after: p === 'pop3' && s.after === 'seen' ? 'keep' : s.after })}
          errors={errors}
          options={[
            ['imap', 'IMAP'],
            ['pop3', 'POP3'],
          ]}
        />
        {s.protocol === 'imap' && (
          <Field label="Folder" name="incoming.folder" value={s.folder} onValue={(folder) => set({ folder })} errors={errors} />
        )}
      </div>
    </div>
  );
}

function FetchFields({ s, set, error, created }: { s: Spec; set: (part: Partial<Spec>) => void; error: ApiError | null; created?: boolean }) {
  return (
    <div class="pair">
      <div class="stack">
        <Field
          label="Begin with"
          name="start_from"
          value={s.start}
          onValue={(start) => set({ start: start as Spec['start'] })}
          errors={error?.fields}
          disabled={created}
          hint={created ? 'Counts at the first session only.' : undefined}
          options={[
            ['now', 'New mail only'],
            ['all', 'Everything in the mailbox'],
            ['at', 'Mail since a time'],
          ]}
        />
        {s.start === 'at' && !created && <Field label="Since" type="datetime-local" value={s.since} onValue={(since) => set({ since })} />}
      </div>
      <Field
        label="After fetching"
        name="after_fetch"
        value={s.after}
        onValue={(after) => set({ after: after as Spec['after'] })}
        errors={error?.fields}
        options={[
          ['keep', 'Leave mail as it is'],
          ...(s.protocol === 'imap' ? [['seen', 'Mark as read'] as [string, string]] : []),
          ['delete', 'Delete from the server'],
        ]}
      />
    </div>
  );
}

export function NewChannelPage({ tenant }: { tenant: string }) {
  const [s, setSpec] = useState(fresh);
  const [auth, setAuth] = useState<AuthInput>(noAuth);
  const [made, setMade] = useState<Channel | null>(null); // kept from Connect on: consent needs a channel to belong to
  const [report, setReport] = useState<TestReport | null>(null);
  const [leaving, leave] = useState(false);
  const act = useAct();
  const test = useAct();
  const base = `/v1/tenants/${tenant}/channels`;
  const connect = useConnect(tenant, setMade);
  const set = (part: Partial<Spec>) => setSpec((now) => ({ ...now, ...part }));
  const person = needsPerson(auth);
  const connected = Boolean(made?.auth.account) && made?.state !== 'consent_pending';

  const choose = (a: AuthInput) => {
    if (a.kind !== auth.kind) {
      const own = (['password', 'microsoft', 'google', 'custom'] as Kind[]).some((k) => s.host === hostOf(k, s.protocol));
      if (own || s.host === '') set({ host: hostOf(a.kind, s.protocol), tls: 'implicit', port: '' });
    }
    setAuth(a);
    setReport(null);
  };
  const credentials = () => authBody({ ...auth, username: auth.username || s.address });
  /** What Connect and Save make; a second time it is changed. */
  const keep = async (): Promise<Channel> => {
    const now = made
      ? await call<Channel>('PATCH', `${base}/${made.id}`, body(s))
      : await call<Channel>('POST', base, { ...body(s), auth: credentials() });
    setMade(now);
    return now;
  };
  const startConnect = async () => {
    let refused: ApiError | null = null;
    const kept = async () => {
      try {
        return await keep();
      } catch (e) {
        refused = e as ApiError;
        throw e;
      }
    };
    await connect.start(kept, s.address, auth.grant === 'device_code');
    if (refused) {
      connect.cancel();
      await act.run(async () => {
        throw refused;
      });
    } else act.clear();
  };
  const save = async (e: Event) => {
    e.preventDefault();
    const done = await act.run(keep);
    if (!done) return;
    toast(`${done.name} saved`);
    go(`/t/${tenant}/channels/${done.id}`);
  };
  const runTest = () =>
    test.run(async () => {
      setReport(null);
      setReport(
        made
          ? await call<TestReport>('POST', `${base}/${made.id}/test`)
          : await call<TestReport>('POST', `/v1/tenants/${tenant}/test-connection`, {
              ...body(s),
              name: undefined,
              address: undefined,
              auth: credentials(),
            }),
      );
    });
  const error = act.error ?? test.error;
  const canTest = person ? connected : s.host !== '';
  return (
    <>
      <Head title="Add channel" crumbs={[['Channels', to.channels(tenant)]]} />
      <form class="form" onSubmit={save} noValidate>
        <Card title="Mailbox">
          <MailboxFields s={s} set={set} error={error} focus />
        </Card>
        <Card title="How to sign in">
          <div class="stack">
            <AuthForm tenant={tenant} value={auth} onValue={choose} errors={error?.fields} prefix="auth." locked={made !== null} />
            {person && auth.app && (
              <div class="actions">
                <Button
                  kind={connected ? undefined : 'primary'}
                  icon="link"
                  onClick={startConnect}
                  busy={connect.state.step === 'waiting' && !connect.state.refused}
                  disabled={!s.address || !s.host}
                >
                  {connected ? 'Connect another account' : 'Connect'}
                </Button>
                {(!s.address || !s.host) && <span class="muted small">Fill in the address and the server first.</span>}
              </div>
            )}
            <ConnectNotice state={connect.state} cancel={connect.cancel} />
          </div>
        </Card>
        <Card title="Server">
          <ServerFields s={s} set={set} error={error} />
        </Card>
        <Card title="Fetching">
          <FetchFields s={s} set={set} error={error} created={connected} />
        </Card>
        <FormError error={error} shown={named} />
        {(report || test.busy) && (
          <Card title="Test connection">
            {report ? (
              <Report report={report} />
            ) : (
              <p class="muted" role="status">
                Testing, step by step …
              </p>
            )}
          </Card>
        )}
        <div class="formfoot">
          <Button kind={person && !connected ? undefined : 'primary'} type="submit" busy={act.busy}>
            {person && !connected ? 'Save without connecting' : 'Save'}
          </Button>
          <Button icon="test" onClick={runTest} busy={test.busy} disabled={!canTest}>
            Test connection
          </Button>
          <Button kind="quiet" onClick={() => (made ? leave(true) : go(`/t/${tenant}/channels`))}>
            Cancel
          </Button>
        </div>
      </form>
      {leaving && made && (
        <Confirm
          title="Discard this channel?"
          yes="Discard"
          onClose={() => leave(false)}
          onYes={async () => {
            await call('DELETE', `${base}/${made.id}`);
            go(`/t/${tenant}/channels`);
          }}
        >
          It was created when you pressed Connect. Discarding deletes it and the consent that was given.
        </Confirm>
      )}
    </>
  );
}

export function EditChannelPage({ tenant, id }: { tenant: string; id: string }) {
  const channel = useLoaded<Channel>(`/v1/tenants/${tenant}/channels/${id}`);
  return (
    <>
      <Shown of={channel}>{(c) => <EditForm c={c} />}</Shown>
    </>
  );
}

function EditForm({ c }: { c: Channel }) {
  const at = c.start_from !== 'now' && c.start_from !== 'all';
  const [s, setSpec] = useState<Spec>({
    name: c.name,
    address: c.address,
    protocol: c.incoming.protocol,
    host: c.incoming.host,
    port: String(c.incoming.port),
    tls: c.incoming.tls,
    folder: c.incoming.folder ?? 'INBOX',
    start: at ? 'at' : (c.start_from as 'now'),
    since: '',
    after: c.after_fetch,
  });
  const [enabled, setEnabled] = useState(c.enabled);
  const act = useAct();
  const set = (part: Partial<Spec>) => setSpec((now) => ({ ...now, ...part }));
  useEffect(() => {
    document.title = `Edit ${c.name} · Mailherd`;
  }, [c.name]);
  const moved = s.host !== c.incoming.host || s.protocol !== c.incoming.protocol;
  const save = async (e: Event) => {
    e.preventDefault();
    const { start_from: unused, ...rest } = body(s);
    const done = await act.run(() => call<Channel>('PATCH', `/v1/tenants/${c.tenant}/channels/${c.id}`, { ...rest, enabled }));
    if (!done) return;
    toast('Saved');
    go(`/t/${c.tenant}/channels/${c.id}`);
  };
  return (
    <>
      <Head
        title={`Edit ${c.name}`}
        crumbs={[
          ['Channels', to.channels(c.tenant)],
          [c.name, to.channel(c.tenant, c.id)],
        ]}
      />
      <form class="form" onSubmit={save} noValidate>
        <Card title="Mailbox">
          <MailboxFields s={s} set={set} error={act.error} />
        </Card>
        <Card title="Server">
          <div class="stack">
            <ServerFields s={s} set={set} error={act.error} />
            {moved && (
              <Notice tone="busy" title="Another server">
                Messages that are known from the present one are recognised by their content: nothing is stored twice, nothing is missed.
              </Notice>
            )}
          </div>
        </Card>
        <Card title="Fetching">
          <div class="stack">
            <FetchFields s={s} set={set} error={act.error} created />
            <Check
              label="Enabled"
              checked={enabled}
              onValue={setEnabled}
              hint="Disabled, nothing is fetched; what arrives meanwhile is fetched later."
            />
          </div>
        </Card>
        <Notice tone="off">
          Credentials and authentication type are changed on the channel's page with <b>Switch</b>.
        </Notice>
        <FormError error={act.error} shown={named} />
        <div class="formfoot">
          <Button kind="primary" type="submit" busy={act.busy}>
            Save
          </Button>
          <Button href={to.channel(c.tenant, c.id)}>Cancel</Button>
        </div>
      </form>
    </>
  );
}
