// Where the console is: the part of the address behind '#', so that a link leads to a page and nothing of it reaches a server.
import { useEffect, useState } from 'preact/hooks';

const read = () => location.hash.replace(/^#/, '') || '/';

export function useRoute() {
  const [at, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    addEventListener('hashchange', changed);
    changed(); // one may have gone on between the first picture and this
    return () => removeEventListener('hashchange', changed);
  }, []);
  const [path, query = ''] = at.split('?');
  return { path: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export function go(to: string, replace = false) {
  if (replace) {
    history.replaceState(null, '', `#${to}`);
    dispatchEvent(new HashChangeEvent('hashchange'));
  } else {
    location.hash = to;
  }
}

export const to = {
  overview: () => '#/',
  tenants: () => '#/tenants',
  cluster: () => '#/cluster',
  tenant: (t: string) => `#/t/${t}`,
  channels: (t: string, state = '') => `#/t/${t}/channels${state && `?state=${state}`}`,
  newChannel: (t: string) => `#/t/${t}/channels/new`,
  channel: (t: string, c: string) => `#/t/${t}/channels/${c}`,
  editChannel: (t: string, c: string) => `#/t/${t}/channels/${c}/edit`,
  messages: (t: string, c = '') => `#/t/${t}/messages${c && `?channel=${c}`}`,
  message: (t: string, m: string) => `#/t/${t}/messages/${m}`,
  apps: (t: string) => `#/t/${t}/apps`,
  newApp: (t: string) => `#/t/${t}/apps/new`,
  app: (t: string, a: string) => `#/t/${t}/apps/${a}`,
  webhooks: (t: string) => `#/t/${t}/webhooks`,
  webhook: (t: string, w: string) => `#/t/${t}/webhooks/${w}`,
};
