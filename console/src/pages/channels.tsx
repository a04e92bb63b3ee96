// Channels of a tenant: thousands of rows of which only those in sight exist.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ApiError, all, get, useNews } from '../api';
import { go, to } from '../route';
import type { Channel, State } from '../types';
import { Icon } from '../ui/icons';
import { Button, Card, ChannelBadge, Empty, Head, Problem, Skeleton, Time } from '../ui/ui';
import { authWords, count, plural, states } from '../words';

interface Row {
  c: Channel;
  text: string;
}
type Column = 'name' | 'state' | 'account' | 'node' | 'success' | 'messages';
const columns: [Column, string][] = [
  ['name', 'Channel'],
  ['state', 'State'],
  ['account', 'Account'],
  ['node', 'Node'],
  ['success', 'Last success'],
  ['messages', 'Messages'],
];

const row = (c: Channel): Row => ({
  c,
  text: `${c.name}\n${c.address}\n${c.auth.account ?? ''}\n${c.node ?? ''}\n${c.incoming.host}\n${c.id}`.toLowerCase(),
});

const key: Record<Column, (c: Channel) => string | number> = {
  name: (c) => c.name.toLowerCase(),
  state: (c) => states[c.state]?.order ?? 99,
  account: (c) => (c.auth.account ?? '').toLowerCase(),
  node: (c) => c.node ?? '',
  success: (c) => c.last_success_at ?? '',
  messages: (c) => c.messages_stored,
};

/** All channels, page by page, kept true by the node's news. */
function useChannels(tenant: string) {
  const [rows, set] = useState<Row[]>([]);
  const [done, setDone] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const turn = useRef(0);
  const timer = useRef<number | undefined>(undefined);
  const size = useRef(0);
  size.current = rows.length;
  const load = () => {
    const mine = ++turn.current;
    const wanted = () => mine === turn.current;
    const first = size.current === 0;
    all<Channel>(
      `/v1/tenants/${tenant}/channels`,
      (items, end) => {
        if (!wanted() || !(end || first)) return; // what is there already is replaced at once, not shortened first
        set(items.map(row));
        setDone(end);
        setError(null);
      },
      wanted,
    ).catch((e) => {
      if (wanted()) setError(e);
    });
  };
  useEffect(() => {
    load();
    return () => {
      turn.current++;
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, [tenant]);
  const later = (ms: number) => {
    timer.current ??= window.setTimeout(() => {
      timer.current = undefined;
      load();
    }, ms);
  };
  useNews((news) => {
    if (news.kind === 'channel' && news.tenant === tenant) {
      get<Channel>(`/v1/tenants/${tenant}/channels/${news.channel}`).then(
        (c) => set((now) => (now.some((r) => r.c.id === c.id) ? now.map((r) => (r.c.id === c.id ? row(c) : r)) : [...now, row(c)])),
        (e: ApiError) => {
          if (e.status === 404) set((now) => now.filter((r) => r.c.id !== news.channel));
        },
      );
    } else if (news.kind === 'all') {
      later(500);
    } else if (news.tenant === tenant) {
      later(size.current > 500 ? 60_000 : 4_000);
    }
  });
  return { rows, done, error, load };
}

export function ChannelsPage({ tenant, query }: { tenant: string; query: URLSearchParams }) {
  const { rows, done, error, load } = useChannels(tenant);
  const [text, setText] = useState(query.get('q') ?? '');
  const [state, setState] = useState<State | ''>((query.get('state') as State) ?? '');
  const [node, setNode] = useState('');
  const [sort, setSort] = useState<{ by: Column; up: boolean }>({ by: 'state', up: true });

  const sorted = useMemo(() => {
    const of = key[sort.by];
    const keyed = rows.map((r) => [of(r.c), r] as const);
    keyed.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x.c.name < y.c.name ? -1 : 1) * (sort.up ? 1 : -1));
    return keyed.map(([, r]) => r);
  }, [rows, sort]);
  const shown = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return sorted.filter((r) => (!state || r.c.state === state) && (!node || r.c.node === node) && words.every((w) => r.text.includes(w)));
  }, [sorted, text, state, node]);
  const byState = useMemo(() => {
    const n = new Map<State, number>();
    for (const r of rows) n.set(r.c.state, (n.get(r.c.state) ?? 0) + 1);
    return n;
  }, [rows]);
  const nodes = useMemo(() => [...new Set(rows.map((r) => r.c.node ?? ''))].filter(Boolean).sort(), [rows]);
  const pick = (s: State | '') => {
    setState(s);
    go(`/t/${tenant}/channels${s && `?state=${s}`}`, true);
  };

  const nothing = done && rows.length === 0;
  return (
    <>
      <Head
        title="Channels"
        sub={
          rows.length > 0 && (
            <span>
              {plural(rows.length, 'channel')}
              {done ? '' : ' so far …'}
            </span>
          )
        }
        actions={
          <Button kind="primary" icon="plus" href={to.newChannel(tenant)}>
            Add channel
          </Button>
        }
      />
      {error && <Problem error={error} again={load} />}
      {nothing ? (
        <Card>
          <Empty
            icon="channels"
            title="No channels yet"
            actions={
              <Button kind="primary" icon="plus" href={to.newChannel(tenant)}>
                Add channel
              </Button>
            }
          >
            A channel is a mailbox that is watched: every message that arrives in it is handed over exactly once.
          </Empty>
        </Card>
      ) : (
        <section class="card">
          <div class="toolbar">
            <div class="field-search">
              <Icon name="search" size={16} />
              <input
                type="search"
                aria-label="Search channels"
                placeholder="Name, address, account, node, host"
                value={text}
                onInput={(e) => setText(e.currentTarget.value)}
              />
            </div>
            {nodes.length > 1 && (
              <select class="slim" aria-label="Node" value={node} onChange={(e) => setNode(e.currentTarget.value)}>
                <option value="">All nodes</option>
                {nodes.map((n) => (
                  <option key={n} value={n}>
                    {n}
                  </option>
                ))}
              </select>
            )}
            <div class="chips" role="group" aria-label="State">
              <button class="chip" aria-pressed={state === ''} onClick={() => pick('')}>
                All
              </button>
              {(Object.keys(states) as State[])
                .filter((s) => byState.get(s) || s === state)
                .map((s) => (
                  <button class="chip" key={s} aria-pressed={state === s} onClick={() => pick(state === s ? '' : s)}>
                    <span class={`dot tone-${states[s].tone}`} aria-hidden="true" />
                    {states[s].name}
                    <span class="num">{count(byState.get(s) ?? 0)}</span>
                  </button>
                ))}
            </div>
            <span class="muted small num" role="status" data-shown={shown.length}>
              {plural(shown.length, 'channel')} shown
            </span>
          </div>
          {rows.length === 0 && !error ? <Skeleton /> : <Rows rows={shown} sort={sort} setSort={setSort} />}
        </section>
      )}
    </>
  );
}

const narrowWidth = matchMedia('(max-width: 760px)');

function Rows({ rows, sort, setSort }: { rows: Row[]; sort: { by: Column; up: boolean }; setSort: (s: { by: Column; up: boolean }) => void }) {
  const view = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(700);
  const [narrow, setNarrow] = useState(narrowWidth.matches);
  const each = narrow ? 76 : 58;
  useEffect(() => {
    const measure = () => {
      setHeight(view.current?.clientHeight ?? 700);
      setNarrow(narrowWidth.matches);
    };
    measure();
    addEventListener('resize', measure);
    return () => removeEventListener('resize', measure);
  }, []);
  const first = Math.max(0, Math.floor(top / each) - 6);
  const last = Math.min(rows.length, Math.ceil((top + height) / each) + 6);
  return (
    <div role="table" aria-label="Channels" aria-rowcount={rows.length + 1}>
      <div role="rowgroup">
        <div class="grid-head" role="row" aria-rowindex={1}>
          {columns.map(([by, name]) => (
            <div role="columnheader" key={by} aria-sort={sort.by === by ? (sort.up ? 'ascending' : 'descending') : 'none'}>
              <button onClick={() => setSort({ by, up: sort.by === by ? !sort.up : by !== 'messages' && by !== 'success' })}>
                {name}
                {sort.by === by && <Icon name={sort.up ? 'up' : 'down'} size={14} />}
              </button>
            </div>
          ))}
        </div>
      </div>
      {rows.length === 0 ? (
        <Empty icon="search" title="No channel fits">
          Change the search or the filter.
        </Empty>
      ) : (
        <div class="viewport" ref={view} role="rowgroup" tabIndex={0} onScroll={(e) => setTop(e.currentTarget.scrollTop)}>
          <div role="presentation" style={{ height: `${rows.length * each}px` }} />
          {rows.slice(first, last).map(({ c }, i) => (
            <div class="grid-row" role="row" key={c.id} aria-rowindex={first + i + 2} style={{ top: `${(first + i) * each}px` }}>
              <div role="cell">
                <a class="name cut" href={to.channel(c.tenant, c.id)}>
                  {c.name}
                </a>
                <div class="muted small cut">
                  {c.address && c.address !== c.name ? c.address : `${c.incoming.protocol.toUpperCase()} · ${c.incoming.host}`}
                </div>
              </div>
              <div role="cell">
                <ChannelBadge c={c} />
              </div>
              <div role="cell">
                <div class="cut">{c.auth.account ?? '–'}</div>
                <div class="muted small cut">{authWords(c)}</div>
              </div>
              <div role="cell" class="muted cut">
                {c.node ?? '–'}
              </div>
              <div role="cell" class="small">
                <Time at={c.last_success_at} />
              </div>
              <div role="cell" class="num">
                {count(c.messages_stored)}
              </div>
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
