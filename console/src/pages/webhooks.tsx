// Webhooks: endpoints that are told what happens, what was delivered to them, and doing it again.
import { useState } from 'preact/hooks';
import { call, useLoaded } from '../api';
import { go, to } from '../route';
import type { Delivery, Page, Webhook } from '../types';
import {
  Badge,
  Button,
  Card,
  Choices,
  Confirm,
  Dialog,
  Empty,
  Field,
  FormError,
  Head,
  Notice,
  Problem,
  SecretOnce,
  Shown,
  Time,
  toast,
  useAct,
} from '../ui/ui';
import { count, plural, type Tone } from '../words';
import { bodies, HookDialog } from './webhook-dialog';

function HookState({ w }: { w: Webhook }) {
  if (!w.enabled) return <Badge tone={w.disabled_reason ? 'bad' : 'off'}>Disabled</Badge>;
  if (w.circuit === 'open') return <Badge tone="bad">Failing</Badge>;
  return w.retrying > 0 ? <Badge tone="warn">Retrying</Badge> : <Badge tone="good">Active</Badge>;
}

export function WebhooksPage({ tenant }: { tenant: string }) {
  const list = useLoaded<Page<Webhook>>(`/v1/tenants/${tenant}/webhooks?limit=1000`, (n) => n.kind === 'mail' && n.tenant === tenant, 5000);
  const [adding, add] = useState(false);
  const [made, setMade] = useState<Webhook | null>(null);
  const button = (
    <Button kind="primary" icon="plus" onClick={() => add(true)}>
      Add endpoint
    </Button>
  );
  if (list.error?.status === 404 || list.error?.status === 405)
    return (
      <>
        <Head title="Webhooks" />
        <Notice tone="off" title="This node has no webhooks">
          Read the feed instead, or run a newer version.
        </Notice>
      </>
    );
  return (
    <>
      <Head
        title="Webhooks"
        sub={<span>Addresses that are told about messages and states, signed, at least once.</span>}
        actions={list.data && button}
      />
      <div class="stack">
        {made?.secret && <SecretOnce what="Signing secret" value={made.secret} />}
        <Shown of={list}>
          {(p) =>
            p.items.length === 0 ? (
              <Card>
                <Empty icon="webhooks" title="No endpoints yet" actions={button}>
                  Every message is posted to an endpoint of yours, in the order in which it arrived.
                </Empty>
              </Card>
            ) : (
              <Card flush>
                <div class="scroll" tabIndex={0} role="region" aria-label="Endpoints">
                  <table>
                    <thead>
                      <tr>
                        <th>Address</th>
                        <th>State</th>
                        <th>Events</th>
                        <th class="right">Behind</th>
                        <th class="right">Given up</th>
                      </tr>
                    </thead>
                    <tbody>
                      {p.items.map((w) => (
                        <tr key={w.id}>
                          <td>
                            <a href={to.webhook(tenant, w.id)}>
                              <b class="wrap-any">{w.url}</b>
                            </a>
                          </td>
                          <td>
                            <HookState w={w} />
                          </td>
                          <td class="small">{w.events.join(', ')}</td>
                          <td class="right num">{count(Math.max(0, Number(w.head) - Number(w.position)))}</td>
                          <td class="right num">{w.dead > 0 ? <b class="bad-text">{count(w.dead)}</b> : '0'}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              </Card>
            )
          }
        </Shown>
      </div>
      {adding && (
        <HookDialog
          tenant={tenant}
          hook={null}
          onClose={() => add(false)}
          onDone={(w) => {
            add(false);
            setMade(w);
            list.reload();
          }}
        />
      )}
    </>
  );
}

export function WebhookPage({ tenant, id }: { tenant: string; id: string }) {
  const path = `/v1/tenants/${tenant}/webhooks/${id}`;
  const hook = useLoaded<Webhook>(path, (n) => n.kind === 'mail' && n.tenant === tenant, 3000);
  const [state, setState] = useState('');
  const deliveries = useLoaded<Page<Delivery>>(
    `${path}/deliveries?limit=50${state && `&state=${state}`}`,
    (n) => n.kind === 'mail' && n.tenant === tenant,
    3000,
  );
  const [asking, ask] = useState<'replay' | 'delete' | 'edit' | 'rotate' | null>(null);
  const [secret, setSecret] = useState('');
  const act = useAct();
  const enable = (enabled: boolean) =>
    act.run(async () => {
      hook.set(await call<Webhook>('PATCH', path, { enabled }));
    });
  const again = () => {
    hook.reload();
    deliveries.reload();
  };
  const sendTest = () =>
    act.run(async () => {
      await call('POST', `${path}/test`);
      toast('A test event is on its way');
      // No news tells of it: what became of it is looked for a moment later, and once more for a slow receiver.
      for (const ms of [500, 2000, 6000]) setTimeout(again, ms);
    });
  return (
    <Shown of={hook}>
      {(w) => (
        <>
          <Head
            title="Endpoint"
            crumbs={[['Webhooks', to.webhooks(tenant)]]}
            sub={
              <>
                <HookState w={w} />
                <span class="wrap-any">{w.url}</span>
              </>
            }
            actions={
              <>
                <Button icon="test" busy={act.busy} onClick={sendTest}>
                  Send test event
                </Button>
                <Button onClick={() => ask('replay')}>Replay</Button>
                <Button onClick={() => ask('edit')}>Edit</Button>
              </>
            }
          />
          <div class="stack">
            {act.error && <Problem error={act.error} />}
            {secret && <SecretOnce what="New signing secret" value={secret} />}
            {w.disabled_reason && !w.enabled && (
              <Notice
                tone="bad"
                title="Disabled by itself"
                actions={
                  <Button slim kind="primary" onClick={() => enable(true)}>
                    Enable
                  </Button>
                }
              >
                {w.disabled_reason}
              </Notice>
            )}
            {w.failing_since && w.enabled && (
              <Notice tone="warn" title="The endpoint fails">
                Since <Time at={w.failing_since} />
                {w.next_attempt_at && (
                  <>
                    ; next attempt <Time at={w.next_attempt_at} />
                  </>
                )}
                . Nothing is lost: it is tried again for days, in order.
              </Notice>
            )}
            <div class="tiles">
              <div class="tile">
                <div class="label">Behind</div>
                <div class="value">{count(Math.max(0, Number(w.head) - Number(w.position)))}</div>
              </div>
              <div class="tile">
                <div class="label">Channels retrying</div>
                <div class="value">{count(w.retrying)}</div>
              </div>
              <div class="tile">
                <div class="label">Given up</div>
                <div class="value">{count(w.dead)}</div>
              </div>
            </div>
            <Card
              title="Deliveries"
              flush
              actions={
                <div class="chips" role="group" aria-label="State">
                  {[
                    ['', 'All'],
                    ['dead', 'Given up'],
                    ['failed', 'Failed'],
                    ['delivered', 'Delivered'],
                  ].map(([v, words]) => (
                    <button class="chip" key={v} aria-pressed={state === v} onClick={() => setState(v)}>
                      {words}
                    </button>
                  ))}
                </div>
              }
            >
              <Shown of={deliveries}>
                {(p) =>
                  p.items.length === 0 ? (
                    <Empty icon="webhooks" title="Nothing to show" />
                  ) : (
                    <Deliveries items={p.items} path={path} tenant={tenant} again={again} />
                  )
                }
              </Shown>
            </Card>
            <Card title="Manage">
              <dl class="facts">
                <dt>Events</dt>
                <dd>{w.events.join(', ')}</dd>
                <dt>Channels</dt>
                <dd class="wrap-any">{w.channels.length === 0 ? 'all' : w.channels.join(', ')}</dd>
                <dt>Sent of a message</dt>
                <dd>{bodies.find(([b]) => b === w.body)?.[1] ?? w.body}</dd>
                <dt>At once</dt>
                <dd>
                  {plural(w.max_in_flight, 'request')}
                  {w.max_per_second !== null && `, ${count(w.max_per_second)} a second`}
                </dd>
                {w.old_secret_until && (
                  <>
                    <dt>Earlier secret</dt>
                    <dd>
                      signs too, it ends <Time at={w.old_secret_until} />
                    </dd>
                  </>
                )}
              </dl>
              <br />
              <div class="actions">
                <Button icon="key" onClick={() => ask('rotate')}>
                  New signing secret
                </Button>
                {w.enabled ? (
                  <Button busy={act.busy} onClick={() => enable(false)}>
                    Disable
                  </Button>
                ) : (
                  <Button busy={act.busy} onClick={() => enable(true)}>
                    Enable
                  </Button>
                )}
                <Button kind="danger" onClick={() => ask('delete')}>
                  Delete
                </Button>
              </div>
            </Card>
          </div>
          {asking === 'edit' && (
            <HookDialog
              tenant={tenant}
              hook={w}
              onClose={() => ask(null)}
              onDone={(now) => {
                ask(null);
                hook.set(now);
                toast('Saved');
              }}
            />
          )}
          {asking === 'replay' && (
            <Replay
              path={path}
              onClose={() => {
                ask(null);
                again();
              }}
            />
          )}
          {asking === 'rotate' && (
            <Confirm
              title="New signing secret?"
              yes="Make a new one"
              onClose={() => ask(null)}
              onYes={async () => {
                const now = await call<Webhook>('POST', `${path}/rotate-secret`, {});
                setSecret(now.secret ?? '');
                ask(null);
                hook.reload();
              }}
            >
              The present secret goes on signing beside it for a while, so that receivers can be changed without a gap.
            </Confirm>
          )}
          {asking === 'delete' && (
            <Confirm
              title="Delete this endpoint?"
              yes="Delete"
              onClose={() => ask(null)}
              onYes={async () => {
                await call('DELETE', path);
                toast('Deleted');
                go(`/t/${tenant}/webhooks`);
              }}
            >
              Nothing is delivered to it any longer. Messages stay in the feed.
            </Confirm>
          )}
        </>
      )}
    </Shown>
  );
}

const tones: Record<Delivery['state'], Tone> = { delivered: 'good', failed: 'warn', dead: 'bad', pending: 'busy', retrying: 'warn' };
const words: Record<Delivery['state'], string> = {
  delivered: 'Delivered',
  failed: 'Failed',
  dead: 'Given up',
  pending: 'Waiting',
  retrying: 'Retrying',
};

function Deliveries({ items, path, tenant, again }: { items: Delivery[]; path: string; tenant: string; again: () => void }) {
  const act = useAct();
  const [shown, show] = useState<Delivery | null>(null);
  const retry = (id: string) =>
    act.run(async () => {
      await call('POST', `${path}/deliveries/${id}/retry`);
      toast('It is tried again');
      again();
    });
  return (
    <>
      {act.error && <Problem error={act.error} />}
      <div class="scroll" tabIndex={0} role="region" aria-label="Deliveries">
        <table>
          <thead>
            <tr>
              <th>State</th>
              <th>Event</th>
              <th>When</th>
              <th class="right">Attempts</th>
              <th>Answer</th>
              <th>
                <span class="hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {items.map((d) => (
              <tr key={`${d.id}${d.webhook_id}${d.state}`}>
                <td>
                  <Badge tone={tones[d.state] ?? 'off'}>{words[d.state] ?? d.state}</Badge>
                </td>
                <td>
                  <div>{d.type}</div>
                  {d.type === 'message.received' ? (
                    <a class="mono small" href={to.message(tenant, d.webhook_id)}>
                      {d.webhook_id}
                    </a>
                  ) : (
                    <span class="mono small">{d.webhook_id}</span>
                  )}
                </td>
                <td>
                  <Time at={d.at} />
                  {d.next_attempt_at && (
                    <div class="muted small">
                      next <Time at={d.next_attempt_at} />
                    </div>
                  )}
                </td>
                <td class="right num">{count(d.attempts)}</td>
                <td class="small wrap-any">
                  {d.status ?? '–'}
                  {d.ms !== null && <span class="muted"> in {count(d.ms)} ms</span>}
                  {d.error && <div class="muted">{d.error}</div>}
                </td>
                <td class="right">
                  {(d.request || d.response) && (
                    <Button slim kind="quiet" onClick={() => show(d)} label={`Show request and response of ${d.webhook_id}`}>
                      Show
                    </Button>
                  )}
                  {d.state === 'dead' && d.id && (
                    <Button slim busy={act.busy} onClick={() => retry(d.id!)} label={`Retry ${d.webhook_id}`}>
                      Retry
                    </Button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {shown && <Exchange d={shown} onClose={() => show(null)} />}
    </>
  );
}

/** The last attempt as both sides saw it. */
function Exchange({ d, onClose }: { d: Delivery; onClose: () => void }) {
  return (
    <Dialog title="Request and response" onClose={onClose} wide>
      <h3>Sent</h3>
      <pre class="code short" tabIndex={0} role="region" aria-label="Request">
        {readable(d.request) || 'Nothing was sent.'}
      </pre>
      <h3>Answered{d.status !== null && ` with ${d.status}`}</h3>
      <pre class="code short" tabIndex={0} role="region" aria-label="Response">
        {readable(d.response) || (d.error ?? 'An empty body.')}
      </pre>
      <div class="actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}

/** JSON in lines, if it is whole; otherwise as it is: only the beginning is kept. */
function readable(body: string | null) {
  try {
    return JSON.stringify(JSON.parse(body ?? ''), null, 2);
  } catch {
    return body ?? '';
  }
}

function Replay({ path, onClose }: { path: string; onClose: () => void }) {
  const [by, setBy] = useState<'after' | 'since'>('since');
  const [after, setAfter] = useState('0');
  const [since, setSince] = useState('');
  const act = useAct();
  const send = () =>
    act.run(async () => {
      await call('POST', `${path}/replay`, by === 'after' ? { after } : { since: since ? new Date(since).toISOString() : '' });
      toast('Replay begins');
      onClose();
    });
  return (
    <Dialog title="Replay" onClose={onClose}>
      <p class="muted">What was delivered is delivered once more, in order and with the same ids: receivers that drop repeats notice nothing.</p>
      <Choices
        legend="From where"
        name="by"
        value={by}
        onValue={setBy}
        options={[
          { value: 'since', title: 'From a time' },
          { value: 'after', title: 'From a position', hint: 'of the feed; 0 is the beginning' },
        ]}
      />
      {by === 'since' ? (
        <Field label="Since" name="since" type="datetime-local" value={since} onValue={setSince} errors={act.error?.fields} />
      ) : (
        <Field label="After position" name="after" value={after} onValue={setAfter} errors={act.error?.fields} />
      )}
      <FormError error={act.error} shown={['after', 'since']} />
      <div class="actions">
        <Button kind="primary" busy={act.busy} onClick={send}>
          Replay
        </Button>
        <Button onClick={onClose}>Cancel</Button>
      </div>
    </Dialog>
  );
}
