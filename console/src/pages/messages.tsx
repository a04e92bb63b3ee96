// The feed, newest first, and one message shown safely.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, get, useLoaded, useNews } from '../api';
import { to } from '../route';
import type { Channel, Message, MessageDetail, Page } from '../types';
import { Icon } from '../ui/icons';
import { Button, Card, Empty, Head, Notice, Problem, Shown, Skeleton, useAct } from '../ui/ui';
import { bytes, clock, person } from '../words';
import { MessageRows } from './channel-cards';

export function MessagesPage({ tenant, channel }: { tenant: string; channel: string }) {
  const path = `/v1/tenants/${tenant}/messages/newest?limit=50${channel && `&channel=${channel}`}`;
  const of = useLoaded<Channel>(channel ? `/v1/tenants/${tenant}/channels/${channel}` : null);
  const [items, setItems] = useState<Message[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const more = useAct();
  const busy = useRef(false);
  const load = () =>
    get<Page<Message>>(path).then((p) => {
      setItems(p.items);
      setNext(p.next);
      setError(null);
    }, setError);
  useEffect(() => {
    setItems(null);
    void load();
  }, [path]);
  // New mail goes on top; what was read further down stays.
  useNews((news) => {
    if (busy.current || news.kind === 'channel' || (news.kind === 'mail' && news.tenant !== tenant)) return;
    busy.current = true;
    setTimeout(() => {
      get<Page<Message>>(path)
        .then(
          (p) =>
            setItems((now) => {
              if (!now) return p.items;
              const known = new Set(p.items.map((m) => m.id));
              return p.items.some((m) => m.id === now[0]?.id) ? [...p.items, ...now.filter((m) => !known.has(m.id))] : p.items;
            }),
          () => {},
        )
        .finally(() => {
          busy.current = false;
        });
    }, 1000);
  });
  return (
    <>
      <Head
        title="Messages"
        crumbs={channel ? [['Messages', to.messages(tenant)]] : undefined}
        sub={
          channel ? (
            <span>
              of <a href={to.channel(tenant, channel)}>{of.data?.name ?? channel}</a>{' '}
              <a class="tag" href={to.messages(tenant)}>
                show all
              </a>
            </span>
          ) : (
            <span>Newest first, of all channels.</span>
          )
        }
      />
      {error && <Problem error={error} again={load} />}
      {!items && !error && (
        <Card>
          <Skeleton />
        </Card>
      )}
      {items && (
        <section class="card">
          {items.length === 0 ? (
            <Empty icon="messages" title="No messages yet">
              What arrives in the channels' mailboxes is shown here at once.
            </Empty>
          ) : (
            <MessageRows items={items} />
          )}
          {next && (
            <div class="body">
              <Button
                busy={more.busy}
                onClick={() =>
                  more.run(async () => {
                    const p = await get<Page<Message>>(`${path}&after=${next}`);
                    setItems([...items, ...p.items]);
                    setNext(p.next);
                  })
                }
              >
                Show older messages
              </Button>
            </div>
          )}
        </section>
      )}
    </>
  );
}

type View = 'html' | 'text' | 'headers';

export function MessagePage({ tenant, id }: { tenant: string; id: string }) {
  const message = useLoaded<MessageDetail>(`/v1/tenants/${tenant}/messages/${id}`);
  if (message.error?.status === 404)
    return (
      <Empty icon="messages" heading="h1" title="There is no such message" actions={<Button href={to.messages(tenant)}>To the messages</Button>} />
    );
  return <Shown of={message}>{(m) => <OneMessage m={m} tenant={tenant} />}</Shown>;
}

const people = (list: { name: string; address: string }[]) => list.map((a) => (a.name ? `${a.name} <${a.address}>` : a.address)).join(', ');

function OneMessage({ m, tenant }: { m: MessageDetail; tenant: string }) {
  const views: [View, string][] = [
    ...(m.html ? [['html', 'Message'] as [View, string]] : []),
    ...(m.text || !m.html ? [['text', m.html ? 'Plain text' : 'Message'] as [View, string]] : []),
    ['headers', 'Headers'],
  ];
  const [view, setView] = useState<View>(views[0][0]);
  const base = `/v1/tenants/${tenant}/messages/${m.id}`;
  return (
    <>
      <Head
        title={m.subject || '(no subject)'}
        crumbs={[['Messages', to.messages(tenant)]]}
        sub={
          <>
            <span>{person(m.from[0])}</span>
            <span>{clock(m.received_at)}</span>
          </>
        }
        actions={
          m.has_body && (
            <Button icon="download" href={`${base}/raw`} download>
              Download raw
            </Button>
          )
        }
      />
      <div class="stack">
        {!m.has_body && (
          <Notice tone="warn" title="Recorded without its body">
            {m.problem}
          </Notice>
        )}
        {m.notes.length > 0 && <Notice tone="off">{m.notes.join(' · ')}</Notice>}
        <Card>
          <dl class="facts">
            <dt>From</dt>
            <dd>{people(m.from) || '–'}</dd>
            <dt>To</dt>
            <dd>{people(m.to) || '–'}</dd>
            {m.cc.length > 0 && (
              <>
                <dt>Cc</dt>
                <dd>{people(m.cc)}</dd>
              </>
            )}
            <dt>Sent</dt>
            <dd>{m.date ? clock(m.date) : '–'}</dd>
            <dt>Channel</dt>
            <dd>
              <a href={to.channel(tenant, m.channel)}>{m.channel}</a>, number {m.sequence}, {bytes(m.size)}
            </dd>
          </dl>
        </Card>
        {m.attachments.length > 0 && (
          <Card title="Attachments" flush>
            <ul class="rows">
              {m.attachments.map((a) => (
                <li key={a.index}>
                  <div class="actions">
                    <Icon name="file" />
                    <b class="wrap-any">{a.name ?? `part ${a.index + 1}`}</b>
                    <span class="muted small">
                      {a.type}, {bytes(a.size)}
                    </span>
                    <Button slim icon="download" href={`${base}/attachments/${a.index}`} download label={`Download ${a.name ?? 'attachment'}`}>
                      Download
                    </Button>
                  </div>
                </li>
              ))}
            </ul>
          </Card>
        )}
        {m.has_body && (
          <section class="card">
            <div class="tabs" role="tablist" aria-label="Forms of the message">
              {views.map(([v, name]) => (
                <button key={v} role="tab" id={`tab-${v}`} aria-controls="message-view" aria-selected={view === v} onClick={() => setView(v)}>
                  {name}
                </button>
              ))}
            </div>
            <div role="tabpanel" id="message-view" aria-labelledby={`tab-${view}`} tabIndex={0}>
              {view === 'html' && (
                <iframe class="mail-frame" sandbox="" title="The message as it was written" src={`${base}/html`} referrerpolicy="no-referrer" />
              )}
              {view === 'text' && <pre class="mail-text">{m.text ?? '(empty)'}</pre>}
              {view === 'headers' && (
                <div class="body">
                  <dl class="facts small">
                    {m.headers.map((h, i) => (
                      <>
                        <dt key={`n${i}`}>{h.name}</dt>
                        <dd key={`v${i}`} class="mono">
                          {h.value}
                        </dd>
                      </>
                    ))}
                  </dl>
                </div>
              )}
            </div>
          </section>
        )}
        {view === 'html' && <p class="muted small">Shown without scripts, links, forms and anything from other hosts.</p>}
      </div>
    </>
  );
}
