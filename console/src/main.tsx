// The console's frame: who is signed in, where one is, and the page that belongs there.
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, currentSession, startNews, stopNews, useLink, useLoaded, whenSignedOut } from './api';
import { AppPage, AppsPage } from './pages/apps';
import { ChannelPage } from './pages/channel';
import { ChannelsPage } from './pages/channels';
import { ClusterPage } from './pages/cluster';
import { EditChannelPage, NewChannelPage } from './pages/edit';
import { MessagePage, MessagesPage } from './pages/messages';
import { OverviewPage } from './pages/overview';
import { SignIn } from './pages/signin';
import { TenantPage, TenantsPage } from './pages/tenants';
import { WebhookPage, WebhooksPage } from './pages/webhooks';
import { go, to, useRoute } from './route';
import type { Overview, Session, Tenant } from './types';
import { Icon, type IconName, Logo } from './ui/icons';
import { Button, Empty, Toasts } from './ui/ui';

type Theme = 'light' | 'dark';
const systemDark = matchMedia('(prefers-color-scheme: dark)');
function useTheme(): [Theme, () => void] {
  const chosen = () => localStorage.getItem('mailherd-theme') as Theme | null;
  const [theme, set] = useState<Theme>(chosen() ?? (systemDark.matches ? 'dark' : 'light'));
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  useEffect(() => {
    const follow = () => {
      if (!chosen()) set(systemDark.matches ? 'dark' : 'light');
    };
    systemDark.addEventListener('change', follow);
    return () => systemDark.removeEventListener('change', follow);
  }, []);
  return [
    theme,
    () => {
      const next = theme === 'dark' ? 'light' : 'dark';
      localStorage.setItem('mailherd-theme', next);
      set(next);
    },
  ];
}

function App() {
  const [session, setSession] = useState<Session | null | undefined>(undefined);
  const [trouble, setTrouble] = useState<ApiError | null>(null);
  const [theme, toggle] = useTheme();
  const ask = () => {
    setTrouble(null);
    currentSession().then(setSession, (e: ApiError) => {
      if (e.status === 401) setSession(null);
      else setTrouble(e);
    });
  };
  useEffect(() => {
    whenSignedOut(() => setSession(null));
    ask();
  }, []);
  useEffect(() => {
    if (!session) return undefined;
    startNews();
    return stopNews;
  }, [session]);
  if (trouble)
    return (
      <Empty icon="warn" title="The node does not answer" actions={<Button onClick={ask}>Try again</Button>}>
        {trouble.message}
      </Empty>
    );
  if (session === undefined) return <p class="boot">Loading the console …</p>;
  if (session === null) return <SignIn onDone={setSession} />;
  return <Frame session={session} theme={theme} toggle={toggle} onSignedOut={() => setSession(null)} />;
}

function NavLink({ href, icon, here, children, tail }: { href: string; icon: IconName; here: boolean; children: string; tail?: number }) {
  return (
    <a href={href} aria-current={here ? 'page' : undefined}>
      <Icon name={icon} />
      {children}
      {tail ? <span class="tail badge tone-bad num">{tail}</span> : null}
    </a>
  );
}

function Frame({ session, theme, toggle, onSignedOut }: { session: Session; theme: Theme; toggle: () => void; onSignedOut: () => void }) {
  const { path, query } = useRoute();
  const [menu, setMenu] = useState(false);
  const [last, setLast] = useState(session.tenant ?? sessionStorage.getItem('mailherd-tenant') ?? '');
  const main = useRef<HTMLElement>(null);
  const live = useLink();
  const operator = session.role === 'operator';
  const at = path[0] === 't' ? path[1] : session.tenant;
  const tenant = at ?? (last || null);
  const tenants = useLoaded<Tenant>(tenant ? `/v1/tenants/${tenant}` : null);
  const overview = useLoaded<Overview>('/v1/overview', (n) => n.kind === 'channel', 5000);
  const key = path.join('/');
  useEffect(() => {
    if (at) {
      setLast(at);
      sessionStorage.setItem('mailherd-tenant', at);
    }
  }, [at]);
  useEffect(() => {
    setMenu(false);
    scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [key]);
  useEffect(() => {
    if (tenants.error?.status === 404 && !at) setLast('');
  }, [tenants.error]);

  const signOut = () =>
    call('DELETE', '/v1/session')
      .catch(() => {})
      .then(() => {
        sessionStorage.removeItem('mailherd-tenant');
        go('/', true);
        onSignedOut();
      });
  const section = path[0] === 't' ? (path[2] ?? 'tenant') : (path[0] ?? 'overview');
  const attention = overview.data?.attention ?? [];
  return (
    <div class="frame">
      <a
        class="skip"
        href="#main"
        onClick={(e) => {
          e.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the page
      </a>
      <header class="topbar">
        <a class="brand" href="#/">
          <Logo size={24} />
          Mailherd
        </a>
        <button class="button quiet" aria-expanded={menu} aria-controls="menu" onClick={() => setMenu(true)} aria-label="Menu">
          <Icon name="menu" />
        </button>
      </header>
      <aside
        aria-label="Menu"
        class={`side${menu ? ' open' : ''}`}
        id="menu"
        onKeyDown={(e) => {
          if (e.key === 'Escape') setMenu(false);
        }}
      >
        <div class="actions">
          <a class="brand" href="#/">
            <Logo />
            Mailherd
          </a>
          <span class="only-narrow">
            <button class="button quiet" onClick={() => setMenu(false)} aria-label="Close the menu">
              <Icon name="close" />
            </button>
          </span>
        </div>
        <nav aria-label="Main">
          <NavLink href={to.overview()} icon="overview" here={section === 'overview'} tail={attention.length}>
            Overview
          </NavLink>
          {operator && (
            <NavLink href={to.tenants()} icon="tenants" here={section === 'tenants'}>
              Tenants
            </NavLink>
          )}
          {operator && (
            <NavLink href={to.cluster()} icon="cluster" here={section === 'cluster'}>
              Cluster
            </NavLink>
          )}
        </nav>
        {tenant && tenants.data && (
          <nav aria-label={`Tenant ${tenants.data.name}`}>
            <div class="group cut">{tenants.data.name}</div>
            <NavLink
              href={to.channels(tenant)}
              icon="channels"
              here={section === 'channels'}
              tail={attention.filter((c) => c.tenant === tenant).length}
            >
              Channels
            </NavLink>
            <NavLink href={to.messages(tenant)} icon="messages" here={section === 'messages'}>
              Messages
            </NavLink>
            <NavLink href={to.apps(tenant)} icon="key" here={section === 'apps'}>
              OAuth apps
            </NavLink>
            <NavLink href={to.webhooks(tenant)} icon="webhooks" here={section === 'webhooks'}>
              Webhooks
            </NavLink>
            <NavLink href={to.tenant(tenant)} icon="tenants" here={section === 'tenant'}>
              Settings and keys
            </NavLink>
          </nav>
        )}
        <div class="foot">
          <div class={`live${live ? ' on' : ''}`} role="status">
            <span class="dot" aria-hidden="true" />
            {live ? 'Live' : 'Waiting for the node'}
          </div>
          <button onClick={toggle}>
            <Icon name={theme === 'dark' ? 'sun' : 'moon'} />
            {theme === 'dark' ? 'Light colours' : 'Dark colours'}
          </button>
          <button onClick={signOut}>
            <Icon name="out" />
            Sign out
          </button>
        </div>
      </aside>
      <main ref={main} id="main" tabIndex={-1} key={section === 'channels' && path.length === 3 ? `${at}/channels` : key}>
        <Routed path={path} query={query} session={session} />
      </main>
      <Toasts />
    </div>
  );
}

function Routed({ path, query, session }: { path: string[]; query: URLSearchParams; session: Session }) {
  const [first, tenant, what, id, more] = path;
  if (!first) return <OverviewPage session={session} />;
  if (first === 'tenants' && session.role === 'operator') return <TenantsPage />;
  if (first === 'cluster' && session.role === 'operator') return <ClusterPage />;
  if (first === 't' && tenant) {
    if (!what) return <TenantPage tenant={tenant} session={session} />;
    if (what === 'channels') {
      if (!id) return <ChannelsPage tenant={tenant} query={query} />;
      if (id === 'new') return <NewChannelPage tenant={tenant} />;
      return more === 'edit' ? <EditChannelPage tenant={tenant} id={id} /> : <ChannelPage tenant={tenant} id={id} session={session} />;
    }
    if (what === 'messages')
      return id ? <MessagePage tenant={tenant} id={id} /> : <MessagesPage tenant={tenant} channel={query.get('channel') ?? ''} />;
    if (what === 'apps') return id ? <AppPage tenant={tenant} id={id} /> : <AppsPage tenant={tenant} />;
    if (what === 'webhooks') return id ? <WebhookPage tenant={tenant} id={id} /> : <WebhooksPage tenant={tenant} />;
  }
  return <Empty icon="info" heading="h1" title="There is no such page" actions={<Button href="#/">To the overview</Button>} />;
}

const root = document.getElementById('app')!;
root.textContent = '';
render(<App />, root);
