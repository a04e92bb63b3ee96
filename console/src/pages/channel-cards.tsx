// What a channel's page shows: how it signs in, where its mail is, what came, what happened.
import { useEffect, useState } from 'preact/hooks';
import { call, useLoaded } from '../api';
import { to } from '../route';
import type { Channel, ChannelEvent, Message, OauthApp, Page } from '../types';
import { Badge, Button, Card, Empty, Shown, Time, useAct } from '../ui/ui';
import { authWords, clock, grants, kindOf, person, providers, reasonOf, states, type Tone } from '../words';

export function SignInCard({
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
        <dd>{c.auth.account ?? <span class="muted">{c.auth.grant === 'client_credentials' ? "the application's own" : 'not known yet'}</span>}</dd>
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
        {c.auth.type === 'oauth2' && c.auth.token_expires_at && (
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

export function ServerCard({ c }: { c: Channel }) {
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

export function Latest({ c }: { c: Channel }) {
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
const stateWords = (e: ChannelEvent) => states[e.state as Channel['state']]?.name ?? e.state;
const actorWords = (a: string | null) => (a === 'node' ? 'by itself' : a ? `by ${a}` : '');

export function Events({ path, id }: { path: string; id: string }) {
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
