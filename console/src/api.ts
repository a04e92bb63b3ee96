// Talks to the node this page came from: requests, their errors, and the news it sends.
//
// Owns:   the one way to the API; whether somebody is signed in.
// Never:  keeps a token: the browser holds a cookie that no program of this page can read.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Page, Session } from './types';

export interface FieldError {
  field: string;
  message: string;
}

export class ApiError extends Error {
  constructor(
    public status: number,
    message: string,
    public fields: FieldError[] = [],
    public title = '',
  ) {
    super(message);
  }
}

let onSignedOut: () => void = () => {};
export function whenSignedOut(then: () => void) {
  onSignedOut = then;
}

export async function call<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { 'X-Mailherd-Console': '1' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin' });
  } catch {
    throw new ApiError(0, 'The node cannot be reached. Check your connection; nothing was changed.');
  }
  const text = await answer.text();
  let parsed: any = null;
  try {
    parsed = text ? JSON.parse(text) : null;
  } catch {
    /* told below */
  }
  if (answer.ok) return parsed as T;
  if (answer.status === 401 && path !== '/v1/session') onSignedOut();
  throw new ApiError(answer.status, parsed?.detail ?? `The node answered ${answer.status}.`, parsed?.errors ?? [], parsed?.title ?? '');
}

export const get = <T>(path: string) => call<T>('GET', path);
let address = '';
/** Where providers send people back to: the address this installation is known by. */
export const publicUrl = () => address || location.origin;
const known = (s: Session) => {
  address = s.public_url?.replace(/\/$/, '') ?? '';
  return s;
};
export const currentSession = () => get<Session>('/v1/session').then(known);
export const signIn = (token: string) => call<Session>('POST', '/v1/session', { token }).then(known);

/** Every page of a list, one after the other; `onPage` sees what is there so far. */
export async function all<T>(path: string, onPage: (items: T[], done: boolean) => void, wanted: () => boolean = () => true, limit = 1000) {
  const items: T[] = [];
  let after = '';
  do {
    const page: Page<T> = await get(`${path}${path.includes('?') ? '&' : '?'}limit=${limit}${after && `&after=${encodeURIComponent(after)}`}`);
    if (!wanted()) return items;
    items.push(...page.items);
    after = page.next ?? '';
    onPage(items, !after);
  } while (after);
  return items;
}

// ---- news ---------------------------------------------------------------------------------------------------------------------------------

export type News = { kind: 'channel'; tenant: string; channel: string } | { kind: 'mail'; tenant: string } | { kind: 'all' };

const listeners = new Set<(news: News) => void>();
const linkListeners = new Set<(live: boolean) => void>();
let source: EventSource | null = null;
let connected = false;

function setLink(live: boolean) {
  if (live === connected) return;
  connected = live;
  for (const l of linkListeners) l(live);
}

export function startNews() {
  stopNews();
  source = new EventSource('/v1/live');
  const tell = (news: News) => {
    for (const l of [...listeners]) l(news);
  };
  let before = false;
  source.addEventListener('hello', () => {
    setLink(true);
    if (before) tell({ kind: 'all' }); // what happened while nobody listened
    before = true;
  });
  source.addEventListener('channel', (e) => tell({ kind: 'channel', ...JSON.parse((e as MessageEvent).data) }));
  source.addEventListener('mail', (e) => tell({ kind: 'mail', ...JSON.parse((e as MessageEvent).data) }));
  source.addEventListener('all', () => tell({ kind: 'all' }));
  source.onerror = () => {
    setLink(false);
    // A refusal (signed out, a node that stops) is final for the browser: come again by ourselves.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(again, 2000);
  };
}

function again() {
  if (source || listeners.size === 0) return;
  currentSession().then(startNews, (e: ApiError) => {
    if (e.status === 401) onSignedOut();
    else setTimeout(again, 5000);
  });
}

export function stopNews() {
  source?.close();
  source = null;
  setLink(false);
}

export function useNews(on: (news: News) => void) {
  const latest = useRef(on);
  latest.current = on;
  useEffect(() => {
    const listener = (news: News) => latest.current(news);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }, []);
}

export function useLink() {
  const [live, set] = useState(connected);
  useEffect(() => {
    linkListeners.add(set);
    set(connected);
    return () => {
      linkListeners.delete(set);
    };
  }, []);
  return live;
}

// ---- what a page shows --------------------------------------------------------------------------------------------------------------------

export interface Loaded<T> {
  data: T | null;
  error: ApiError | null;
  loading: boolean;
  reload: () => void;
  set: (data: T) => void;
}

/** Loads `path` (null: nothing), again when `when` says that news concern it, at most every `pause` ms. What is shown stays until the new is there. */
export function useLoaded<T>(path: string | null, when?: (news: News) => boolean, pause = 1000): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; data: T | null; error: ApiError | null; loading: boolean }>({
    path,
    data: null,
    error: null,
    loading: path !== null,
  });
  const turn = useRef(0);
  const last = useRef(0);
  const timer = useRef<number | undefined>(undefined);

  const load = () => {
    if (path === null) return;
    const mine = ++turn.current;
    last.current = Date.now();
    setState((s) => ({ path, data: s.path === path ? s.data : null, error: s.path === path ? s.error : null, loading: true }));
    get<T>(path).then(
      (data) => {
        if (mine === turn.current) setState({ path, data, error: null, loading: false });
      },
      (error) => {
        if (mine === turn.current) setState((s) => ({ ...s, path, error, loading: false }));
      },
    );
  };
  useEffect(() => {
    load();
    return () => {
      turn.current++;
      clearTimeout(timer.current);
      timer.current = undefined;
    };
  }, [path]);
  useNews((news) => {
    if (path === null || timer.current !== undefined || !(news.kind === 'all' || when?.(news))) return;
    timer.current = window.setTimeout(
      () => {
        timer.current = undefined;
        load();
      },
      Math.max(0, last.current + pause - Date.now()),
    );
  });
  const mine = state.path === path;
  return {
    data: mine ? state.data : null,
    error: mine ? state.error : null,
    loading: mine ? state.loading : path !== null,
    reload: load,
    set: (data) => {
      turn.current++;
      setState({ path, data, error: null, loading: false });
    },
  };
}
