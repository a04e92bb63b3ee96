// The first page: what needs a person, then how everything is.
import { useLoaded } from '../api';
import { to } from '../route';
import type { Channel, Overview, Page, Session, State, Tenant } from '../types';
import { Icon } from '../ui/icons';
import { Badge, Button, Card, ChannelBadge, Empty, Head, Shown, Time } from '../ui/ui';
import { count, plural, reconnectWords, span, states } from '../words';

export function OverviewPage({ session }: { session: Session }) {
  const overview = useLoaded<Overview>('/v1/overview', () => true, 3000);
  const tenants = useLoaded<Page<Tenant>>('/v1/tenants?limit=1000');
  const names = new Map(tenants.data?.items.map((t) => [t.id, t.name]));
  return (
    <>
      <Head title="Overview" sub={<span>What needs a person comes first.</span>} />
      <Shown of={overview}>
        {(o) => (
          <div class="stack">
            <Attention channels={o.attention} names={names} operator={session.role === 'operator'} />
            <States overview={o} tenant={session.tenant} />
            {session.role === 'operator' && <TenantTable overview={o} tenants={tenants.data?.items ?? null} />}
          </div>
        )}
      </Shown>
    </>
  );
}

function Attention({ channels, names, operator }: { channels: Channel[]; names: Map<string, string>; operator: boolean }) {
  const blocked = new Map<string, Channel[]>();
  const rest: Channel[] = [];
  const worst = (c: Channel) => (c.auth.switch.state === 'failed' ? 2.5 : (states[c.state]?.order ?? 99));
  for (const c of [...channels].sort((a, b) => worst(a) - worst(b))) {
    // One incident of an OAuth app is one line, however many channels wait for it.
    if (c.state === 'app_blocked' && c.auth.app) blocked.set(`${c.tenant}/${c.auth.app}`, [...(blocked.get(`${c.tenant}/${c.auth.app}`) ?? []), c]);
    else rest.push(c);
  }
  if (channels.length === 0) {
    return (
      <Card>
        <div class="actions">
          <span class="good-text">
            <Icon name="good" size={22} />
          </span>
          <h2>Nothing needs you</h2>
        </div>
        <p class="muted">Every channel is served, or gets well by itself.</p>
      </Card>
    );
  }
  return (
    <Card
      title={
        <>
          Needs a person <Badge tone="bad">{plural(channels.length, 'channel')}</Badge>
        </>
      }
      flush
    >
      <ul class="rows">
        {[...blocked.values()].map((group) => (
          <li class="attend" key={`${group[0].tenant}${group[0].auth.app}`}>
            <div class="actions">
              <Badge tone="bad">OAuth app blocked</Badge>
              <b>{plural(group.length, 'channel')} of one OAuth app</b>
              {operator && <span class="tag">{names.get(group[0].tenant) ?? group[0].tenant}</span>}
            </div>
            <p class="muted small">{group[0].advice}</p>
            <Button slim href={to.app(group[0].tenant, group[0].auth.app!)}>
              Open the OAuth app
            </Button>
          </li>
        ))}
        {rest.map((c) => (
          <li class="attend" key={`${c.tenant}${c.id}`}>
            <div class="actions">
              <ChannelBadge c={c} />
              <a href={to.channel(c.tenant, c.id)}>
                <b>{c.name}</b>
              </a>
              {c.address !== c.name && <span class="muted wrap-any">{c.address}</span>}
              {operator && <span class="tag">{names.get(c.tenant) ?? c.tenant}</span>}
              <span class="muted small">
                <Time at={c.state_since} />
              </span>
            </div>
            <p class="muted small">{c.advice ?? c.state_detail ?? 'It has not been served for a while.'}</p>
            <Button
              slim
              kind={reconnectWords(c) ? 'primary' : undefined}
              href={to.channel(c.tenant, c.id)}
              label={`${reconnectWords(c) ?? 'Open'} ${c.name}`}
            >
              {reconnectWords(c) ?? 'Open'}
            </Button>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function sum(overview: Overview, tenant?: string | null) {
  const by = new Map<State, number>();
  for (const s of overview.states) if (!tenant || s.tenant === tenant) by.set(s.state, (by.get(s.state) ?? 0) + s.channels);
  return by;
}

function States({ overview, tenant }: { overview: Overview; tenant: string | null }) {
  const by = sum(overview);
  const total = [...by.values()].reduce((a, b) => a + b, 0);
  const all = (Object.keys(states) as State[]).filter((s) => by.get(s));
  return (
    <section aria-label="Channels by state" class="tiles">
      <div class="tile">
        <div class="label">Channels</div>
        <div class="value">{count(total)}</div>
      </div>
      {all.map((s) => {
        const inner = (
          <>
            <div class="label">
              <span class={`dot tone-${states[s].tone}`} aria-hidden="true" />
              {states[s].name}
            </div>
            <div class="value">{count(by.get(s)!)}</div>
          </>
        );
        return tenant ? (
          <a class="tile" key={s} href={to.channels(tenant, s)}>
            {inner}
          </a>
        ) : (
          <div class="tile" key={s}>
            {inner}
          </div>
        );
      })}
    </section>
  );
}

function TenantTable({ overview, tenants }: { overview: Overview; tenants: Tenant[] | null }) {
  if (!tenants) return null;
  if (tenants.length === 0) {
    return (
      <Card>
        <Empty
          icon="tenants"
          title="No tenants yet"
          actions={
            <Button kind="primary" href={to.tenants()}>
              Create the first tenant
            </Button>
          }
        >
          A tenant is a customer: it has channels, OAuth apps and API keys of its own.
        </Empty>
      </Card>
    );
  }
  const rows = tenants
    .map((t) => {
      const by = sum(overview, t.id);
      const bad = (['needs_reauth', 'needs_admin', 'app_blocked', 'consent_pending'] as State[]).reduce((n, s) => n + (by.get(s) ?? 0), 0);
      const oldest = Math.max(
        0,
        ...overview.states.filter((s) => s.tenant === t.id && s.state !== 'disabled').map((s) => s.oldest_success_age_seconds),
      );
      return { t, total: [...by.values()].reduce((a, b) => a + b, 0), active: by.get('active') ?? 0, bad, oldest };
    })
    .sort((a, b) => b.bad - a.bad || b.oldest - a.oldest);
  return (
    <Card
      title="Tenants"
      flush
      actions={
        <Button slim href={to.tenants()}>
          All tenants
        </Button>
      }
    >
      <div class="scroll" tabIndex={0} role="region" aria-label="Tenants">
        <table>
          <thead>
            <tr>
              <th>Tenant</th>
              <th class="right">Channels</th>
              <th class="right">Active</th>
              <th class="right">Need a person</th>
              <th class="right">Longest silence</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, 50).map(({ t, total, active, bad, oldest }) => (
              <tr key={t.id}>
                <td>
                  <a href={to.channels(t.id)}>
                    <b>{t.name}</b>
                  </a>
                </td>
                <td class="right num">{count(total)}</td>
                <td class="right num">{count(active)}</td>
                <td class="right num">{bad > 0 ? <b class="bad-text">{count(bad)}</b> : '0'}</td>
                <td class="right num">{total > 0 ? span(oldest) : ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
