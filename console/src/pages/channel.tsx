// One channel: how it is, what it needs, and everything that can be done with it.
import { useEffect, useState } from 'preact/hooks';
import { ApiError, call, type Loaded, useLoaded } from '../api';
import { go, to } from '../route';
import type { Channel, ChannelEvent, Message, Node, OauthApp, Page, Session, TestReport } from '../types';
import {
  Badge,
  Button,
  Card,
  ChannelBadge,
  Confirm,
  Dialog,
  Empty,
  Field,
  FormError,
  Head,
  Notice,
  Problem,
  Shown,
  Time,
  toast,
  useAct,
} from '../ui/ui';
import { authWords, clock, count, grants, kindOf, person, plural, providers, reasonOf, reconnectWords, span, states, type Tone } from '../words';
import { AuthForm, authBody, type AuthInput, ConnectNotice, hostOf, kindOfApp, noAuth, OwnerLink, useConnect } from './auth';
import { ActivityCard } from './activity';
import { Report } from './report';

type Asking = 'switch' | 'link' | 'roll-back' | 'move' | 'delete' | null;

export function ChannelPage({ tenant, id, session }: { tenant: string; id: string; session: Session }) {
  const path = `/v1/tenants/${tenant}/channels/${id}`;
  const channel = useLoaded<Channel>(path, (n) => (n.kind === 'channel' ? n.channel === id : n.kind === 'mail' && n.tenant === tenant), 800);
  const app = useLoaded<OauthApp>(channel.data?.auth.app ? `/v1/tenants/${tenant}/oauth-apps/${channel.data.auth.app}` : null);
  if (channel.error?.status === 404)
    return (
      <Empty icon="channels" heading="h1" title="There is no such channel" actions={<Button href={to.channels(tenant)}>To the channels</Button>}>
        It may have been deleted.
      </Empty>
    );
  return <Shown of={channel}>{(c) => <One c={c} path={path} channel={channel} app={app.data} session={session} />}</Shown>;
}

function One({ c, path, channel, app, session }: { c: Channel; path: string; channel: Loaded<Channel>; app: OauthApp | null; session: Session }) {
  const [asking, ask] = useState<Asking>(null);
  const [report, setReport] = useState<TestReport | null>(null);
  const connect = useConnect(c.tenant, channel.set);
  const test = useAct();
  const act = useAct();
  const reconnect = reconnectWords(c);
  const start = () => connect.start(async () => c, c.auth.mailbox ? c.auth.account : c.address || c.auth.account);
  const runTest = () =>
    test.run(async () => {
      setReport(null);
      setReport(await call<TestReport>('POST', `${path}/test`));
    });
  const enable = (enabled: boolean) =>
    act.run(async () => {
      channel.set(await call<Channel>('PATCH', path, { enabled }));
      toast(enabled ? 'Enabled' : 'Disabled');
    });
  return (
    <>
      <Head
        title={c.name}
        crumbs={[['Channels', to.channels(c.tenant)]]}
        sub={
          <>
            <ChannelBadge c={c} />
            {c.address && <span class="wrap-any">{c.address}</span>}
            <Time at={c.state_since} />
          </>
        }
        actions={
          <>
            {reconnect && (
              <Button kind="primary" icon="link" onClick={start} busy={connect.state.step === 'waiting'}>
                {reconnect}
              </Button>
            )}
            <Button icon="test" onClick={runTest} busy={test.busy}>
              Test connection
            </Button>
            <Button href={to.editChannel(c.tenant, c.id)}>Edit</Button>
          </>
        }
      />
      <div class="stack">
        <ConnectNotice state={connect.state} cancel={connect.cancel} />
        <StateNotice c={c} reconnect={reconnect} onConnect={start} onPassword={() => ask('switch')} />
        {act.error && <Problem error={act.error} />}
        {test.error && <Problem error={test.error} again={runTest} />}
        {(report || test.busy) && (
          <Card
            title="Test connection"
            actions={
              report && (
                <Button slim kind="quiet" onClick={() => setReport(null)}>
                  Close
                </Button>
              )
            }
          >
            {report ? (
              <Report report={report} />
            ) : (
              <p class="muted" role="status">
                Testing, step by step …
              </p>
            )}
          </Card>
        )}
        <div class="columns">
          <div class="stack">
            <Numbers c={c} />
            <ActivityCard tenant={c.tenant} id={c.id} />
            <Latest c={c} />
            <Events path={path} id={c.id} />
          </div>
          <div class="stack">
            <SignInCard
              c={c}
              app={app}
              onSwitch={() => ask('switch')}
              onRollBack={() => ask('roll-back')}
              onLink={reconnect ? () => ask('link') : undefined}
            />
            <ServerCard c={c} />
            <Card title="Manage">
              <div class="actions">
                {c.enabled ? (
                  <Button onClick={() => enable(false)} busy={act.busy}>
                    Disable
                  </Button>
                ) : (
                  <Button kind="primary" onClick={() => enable(true)} busy={act.busy}>
                    Enable
                  </Button>
                )}
                {session.role === 'operator' && <Button onClick={() => ask('move')}>Move to another node</Button>}
                <Button kind="danger" onClick={() => ask('delete')}>
                  Delete
                </Button>
              </div>
            </Card>
          </div>
        </div>
      </div>
      {asking === 'switch' && (
        <SwitchDialog
          c={c}
          path={path}
          app={app}
          onClose={() => ask(null)}
          onDone={(then) => {
            ask(null);
            channel.reload();
            if (then === 'connect') toast('Stored. Press Connect to give consent; the present sign-in serves until then.');
          }}
          connect={connect}
        />
      )}
      {asking === 'roll-back' && (
        <Confirm
          title="Roll back the sign-in"
          yes="Roll back"
          onClose={() => ask(null)}
          onYes={async () => {
            await call('POST', `${path}/auth/rollback`);
            ask(null);
            toast('Rolling back');
            channel.reload();
          }}
        >
          The credentials that served before are used again. The present ones serve until the earlier ones hold the mailbox; no mail is missed.
        </Confirm>
      )}
      {asking === 'link' && <OwnerLink c={c} onClose={() => ask(null)} />}
      {asking === 'move' && <MoveDialog c={c} path={path} onClose={() => ask(null)} />}
      {asking === 'delete' && (
        <Confirm
          title={`Delete ${c.name}?`}
          yes="Delete the channel"
          type={c.name}
          onClose={() => ask(null)}
          onYes={async () => {
            await call('DELETE', path);
            toast('Deleted');
            go(`/t/${c.tenant}/channels`);
          }}
        >
          Its {plural(c.messages_stored, 'stored message')}, its credentials and its history are deleted with it. The mailbox on the server is not
          touched.
        </Confirm>
      )}
    </>
  );
}

// ---- what it needs ----------------------------------------------------------------------------------------------------------------------------

function StateNotice({
  c,
  reconnect,
  onConnect,
  onPassword,
}: {
  c: Channel;
  reconnect: string | null;
  onConnect: () => void;
  onPassword: () => void;
}) {
  const { tone, name } = states[c.state];
  const when = c.throttled_until ?? c.next_attempt_at;
  const failed = c.auth.switch.state === 'failed' && c.state !== 'needs_reauth';
  const calm = tone === 'good' || c.state === 'connecting' || c.state === 'backfilling';
  return (
    <>
      {!calm && (
        <Notice
          tone={tone}
          title={name}
          actions={
            <>
              {reconnect && !failed && (
                <Button slim kind="primary" onClick={onConnect}>
                  {reconnect}
                </Button>
              )}
              {c.state === 'needs_reauth' && c.auth.type === 'basic' && (
                <Button slim kind="primary" icon="key" onClick={onPassword}>
                  Enter the password again
                </Button>
              )}
              {c.state === 'app_blocked' && c.auth.app && (
                <Button slim kind="primary" href={to.app(c.tenant, c.auth.app)}>
                  Open the OAuth app
                </Button>
              )}
            </>
          }
        >
          {c.state === 'disabled' ? 'Nothing is fetched. Mail that arrives meanwhile is fetched when the channel is enabled again.' : c.advice}
          {c.state_detail && <div class="muted small wrap-any">{c.state_detail}</div>}
          {when && (
            <div class="small">
              {c.throttled_until ? 'Goes on' : 'Next attempt'} <Time at={when} /> <span class="muted">({clock(when)})</span>
            </div>
          )}
        </Notice>
      )}
      {c.auth.switch.state === 'running' && (
        <Notice tone="busy" title="A switch of sign-in is running" live>
          {reconnect ? `The new sign-in waits for consent: press ${reconnect}.` : 'The new credentials are being proven on the mailbox.'}{' '}
          {c.auth.observed_generation > 0 && 'The earlier ones serve until they hold it.'}
        </Notice>
      )}
      {failed && (
        <Notice
          tone="warn"
          title="The new sign-in did not take over"
          actions={
            <>
              <Button slim onClick={onPassword}>
                Correct and switch again
              </Button>
              {reconnect && (
                <Button slim onClick={onConnect}>
                  {reconnect}
                </Button>
              )}
            </>
          }
        >
          {c.state === 'active' ? c.advice : 'The earlier credentials keep serving.'}
          {c.auth.switch.error && <div class="muted small wrap-any">{c.auth.switch.error}</div>}
        </Notice>
      )}
      {c.backfill && (
        <Notice tone="busy" title="Catching up with what is in the mailbox">
          <div
            class="meter"
            role="progressbar"
            aria-label="Messages fetched"
            aria-valuenow={c.backfill.done}
            aria-valuemin={0}
            aria-valuemax={c.backfill.total}
          >
            <i style={{ width: `${c.backfill.total ? (100 * c.backfill.done) / c.backfill.total : 0}%` }} />
          </div>
          <span class="small num">
            {count(c.backfill.done)} of {count(c.backfill.total)} messages
          </span>
        </Notice>
      )}
    </>
  );
}

function Numbers({ c }: { c: Channel }) {
  return (
    <div class="tiles">
      <div class="tile">
        <div class="label">Messages stored</div>
        <div class="value">{count(c.messages_stored)}</div>
      </div>
      <div class="tile">
        <div class="label">Last success</div>
        <div class="value">
          <Time at={c.last_success_at} />
        </div>
      </div>
      <div class="tile">
        <div class="label">Served by</div>
        <div class="value cut">{c.node ?? '–'}</div>
      </div>
    </div>
  );
}

function SignInCard({
  c,
  app,
  onSwitch,
  onRollBack,
  onLink,
}: {
  c: Channel;
  app: OauthApp | null;
  onSwitch: () => void;
  onRollBack: () => void;
  onLink?: () => void;
}) {
  // An older node does not say which credentials served before.
  const earlier =
    c.auth.previous_generation === undefined ? c.auth.generation > 1 && c.auth.observed_generation > 0 : c.auth.previous_generation !== null;
  return (
    <Card
      title="Sign-in"
      actions={
        <>
          {onLink && (
            <Button slim onClick={onLink}>
              Link for the owner
            </Button>
          )}
          {earlier && (
            <Button slim onClick={onRollBack}>
              Roll back
            </Button>
          )}
          <Button slim onClick={onSwitch}>
            Switch
          </Button>
        </>
      }
    >
      <dl class="facts">
        <dt>Type</dt>
        <dd>
          {authWords(c)}
          {app && ` · ${providers[app.provider]}`}
        </dd>
        <dt>Account</dt>
        <dd>{c.auth.account ?? <span class="muted">not known yet</span>}</dd>
        {c.auth.mailbox && (
          <>
            <dt>Shared mailbox</dt>
            <dd>{c.auth.mailbox}</dd>
          </>
        )}
        {c.auth.app && (
          <>
            <dt>OAuth app</dt>
            <dd>
              <a href={to.app(c.tenant, c.auth.app)}>{app?.name ?? c.auth.app}</a>
            </dd>
          </>
        )}
        {c.auth.grant && (
          <>
            <dt>Consent by</dt>
            <dd>{grants[c.auth.grant]}</dd>
          </>
        )}
        {c.auth.token_expires_at && (
          <>
            <dt>Access token</dt>
            <dd>
              renewed before it ends, <Time at={c.auth.token_expires_at} />
            </dd>
          </>
        )}
        <dt>Credentials</dt>
        <dd>
          {c.auth.observed_generation === c.auth.generation
            ? `number ${c.auth.generation}, serving`
            : `number ${c.auth.generation} wanted, ${c.auth.observed_generation ? `number ${c.auth.observed_generation} serves` : 'none serves yet'}`}
        </dd>
      </dl>
    </Card>
  );
}

function ServerCard({ c }: { c: Channel }) {
  const tls = { implicit: 'TLS', starttls: 'STARTTLS', none: 'not encrypted' }[c.incoming.tls];
  return (
    <Card
      title="Mailbox"
      actions={
        <Button slim href={to.editChannel(c.tenant, c.id)}>
          Edit
        </Button>
      }
    >
      <dl class="facts">
        <dt>Server</dt>
        <dd>
          {c.incoming.host}:{c.incoming.port}
        </dd>
        <dt>Protocol</dt>
        <dd>
          {c.incoming.protocol.toUpperCase()}, {tls}
        </dd>
        {c.incoming.folder && (
          <>
            <dt>Folder</dt>
            <dd>{c.incoming.folder}</dd>
          </>
        )}
        <dt>Began with</dt>
        <dd>{c.start_from === 'now' ? 'new mail only' : c.start_from === 'all' ? 'everything in it' : `mail since ${clock(c.start_from)}`}</dd>
        <dt>Afterwards</dt>
        <dd>{{ keep: 'mail stays as it is', seen: 'mail is marked as read', delete: 'mail is deleted from the server' }[c.after_fetch]}</dd>
        <dt>Id</dt>
        <dd class="mono">{c.id}</dd>
      </dl>
    </Card>
  );
}

// ---- what came ---------------------------------------------------------------------------------------------------------------------------------

function Latest({ c }: { c: Channel }) {
  const list = useLoaded<Page<Message>>(
    `/v1/tenants/${c.tenant}/messages/newest?channel=${c.id}&limit=6`,
    (n) => n.kind === 'mail' && n.tenant === c.tenant,
  );
  return (
    <Card
      title="Newest messages"
      flush
      actions={
        <Button slim href={to.messages(c.tenant, c.id)}>
          All messages
        </Button>
      }
    >
      <Shown of={list}>{(p) => (p.items.length === 0 ? <Empty icon="messages" title="No messages yet" /> : <MessageRows items={p.items} />)}</Shown>
    </Card>
  );
}

export function MessageRows({ items }: { items: Message[] }) {
  return (
    <ul class="rows inbox">
      {items.map((m) => (
        <li key={m.id}>
          <a class="row-link" href={to.message(`t${m.id.slice(1).split('-')[0]}`, m.id)}>
            <span class="cut">
              <b>{person(m.from[0])}</b>
            </span>
            <span class="cut subject">
              {m.subject || '(no subject)'}
              {!m.has_body && (
                <>
                  {' '}
                  <Badge tone="warn">without its body</Badge>
                </>
              )}
            </span>
            <span class="muted small">
              <Time at={m.received_at} />
            </span>
          </a>
        </li>
      ))}
    </ul>
  );
}

const toneOf = (e: ChannelEvent): Tone => {
  if (e.kind === 'state' && e.state) return states[e.state as Channel['state']]?.tone ?? 'off';
  if (e.kind === 'switch') return ({ done: 'good', failed: 'bad', running: 'busy' } as Record<string, Tone>)[e.state ?? ''] ?? 'off';
  return 'off';
};
const stateWords = (e: ChannelEvent) => (e.kind === 'state' ? (states[e.state as Channel['state']]?.name ?? e.state) : e.state);
const actorWords = (a: string | null) => (a === 'node' ? 'by itself' : a ? `by ${a}` : '');

function Events({ path, id }: { path: string; id: string }) {
  const first = useLoaded<Page<ChannelEvent>>(`${path}/events?limit=12`, (n) => n.kind === 'channel' && n.channel === id);
  const [more, setMore] = useState<Page<ChannelEvent> | null>(null);
  const act = useAct();
  useEffect(() => setMore(null), [first.data]);
  return (
    <Card title="What happened">
      <Shown of={first}>
        {(p) => {
          const next = more ? more.next : p.next;
          return (
            <>
              <ol class="timeline">
                {[...p.items, ...(more?.items ?? [])].map((e) => (
                  <li key={e.id} class={`t-${toneOf(e)}`}>
                    <div>
                      <b>
                        {kindOf(e.kind)}
                        {stateWords(e) && `: ${stateWords(e)}`}
                      </b>{' '}
                      <span class="muted small">
                        <Time at={e.at} /> {actorWords(e.actor)}
                      </span>
                      {(e.detail || e.reason) && <div class="muted small wrap-any">{e.detail || reasonOf(e.reason)}</div>}
                    </div>
                  </li>
                ))}
              </ol>
              {next && (
                <Button
                  slim
                  busy={act.busy}
                  onClick={() =>
                    act.run(async () => {
                      const page = await call<Page<ChannelEvent>>('GET', `${path}/events?limit=50&after=${encodeURIComponent(next)}`);
                      setMore({ items: [...(more?.items ?? []), ...page.items], next: page.next });
                    })
                  }
                >
                  Show earlier
                </Button>
              )}
            </>
          );
        }}
      </Shown>
    </Card>
  );
}

// ---- dialogs -------------------------------------------------------------------------------------------------------------------------------------

function SwitchDialog({
  c,
  path,
  app,
  onClose,
  onDone,
  connect,
}: {
  c: Channel;
  path: string;
  app: OauthApp | null;
  onClose: () => void;
  onDone: (then?: 'connect') => void;
  connect: ReturnType<typeof useConnect>;
}) {
  const present: AuthInput =
    c.auth.type === 'basic'
      ? { ...noAuth, username: c.auth.account ?? c.address }
      : {
          ...noAuth,
          kind: kindOfApp(app ?? undefined),
          app: c.auth.app ?? '',
          mailbox: c.auth.mailbox ?? '',
          username: c.address,
          grant: c.auth.grant === 'client_credentials' ? 'client_credentials' : 'authorization_code',
        };
  const [auth, setAuth] = useState(present);
  const [host, setHost] = useState('');
  const act = useAct();
  const wanted = hostOf(auth.kind, c.incoming.protocol);
  const other = wanted !== '' && wanted !== c.incoming.host;
  const person = auth.kind !== 'password' && auth.grant === 'authorization_code';
  const store = async () => {
    await call('PUT', `${path}/auth`, authBody(auth));
    if (host) await call('PATCH', path, { incoming: { host } });
    return call<Channel>('GET', path);
  };
  const submit = async (e: Event) => {
    e.preventDefault();
    if (person) {
      // The window is opened in this click; what was stored is seen by the dialog's page.
      let refused: ApiError | null = null;
      await connect.start(async () => {
        try {
          return await store();
        } catch (error) {
          refused = error as ApiError;
          throw error;
        }
      }, c.address);
      if (refused) {
        connect.cancel();
        await act.run(async () => {
          throw refused;
        });
      } else onDone();
    } else if (await act.run(store)) {
      toast('Stored. The new sign-in is being proven.');
      onDone();
    }
  };
  return (
    <Dialog title="Switch the sign-in" onClose={onClose} wide>
      <form class="stack" onSubmit={submit}>
        <p class="muted">
          The new sign-in is brought all the way to the mailbox before the present one is given up. Mail keeps arriving; if it fails, nothing changes.
        </p>
        <AuthForm tenant={c.tenant} value={auth} onValue={setAuth} errors={act.error?.fields} />
        {(other || host) && (
          <Field
            label="Also move to this server"
            value={host}
            onValue={setHost}
            placeholder={`leave empty to stay at ${c.incoming.host}`}
            hint={other ? `${wanted} is the provider's own.` : undefined}
          />
        )}
        <FormError error={act.error} shown={['username', 'password', 'app', 'mailbox']} />
        <div class="formfoot">
          <Button kind="primary" type="submit" icon={person ? 'link' : undefined} busy={act.busy} disabled={auth.kind !== 'password' && !auth.app}>
            {person ? 'Connect and switch' : 'Switch'}
          </Button>
          <Button onClick={onClose}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}

function MoveDialog({ c, path, onClose }: { c: Channel; path: string; onClose: () => void }) {
  const cluster = useLoaded<{ nodes: Node[] }>('/v1/cluster');
  const others = (cluster.data?.nodes ?? []).filter((n) => n.state === 'active' && n.name !== c.node);
  const [node, setNode] = useState('');
  const act = useAct();
  const chosen = node || others[0]?.name || '';
  return (
    <Dialog title="Move to another node" onClose={onClose}>
      <p class="muted">The other node opens the mailbox first and then takes over. No mail is missed and there is no moment without a session.</p>
      <Shown of={cluster}>
        {() =>
          others.length === 0 ? (
            <Notice tone="off" title="There is no other active node">
              {c.node ? `${c.node} serves this channel and is the only one.` : 'No node can take it at the moment.'}
            </Notice>
          ) : (
            <Field
              label="Node"
              value={chosen}
              onValue={setNode}
              options={others.map((n) => [n.name, `${n.name} (${plural(n.channels, 'channel')}, lease ${span(n.lease_age_seconds)} old)`])}
            />
          )
        }
      </Shown>
      {act.error && <Problem error={act.error} />}
      <div class="actions">
        <Button
          kind="primary"
          busy={act.busy}
          disabled={!chosen}
          onClick={() =>
            act.run(async () => {
              await call('POST', `${path}/move`, { node: chosen });
              toast(`Moving to ${chosen}`);
              onClose();
            })
          }
        >
          Move
        </Button>
        <Button onClick={onClose}>Cancel</Button>
      </div>
    </Dialog>
  );
}
