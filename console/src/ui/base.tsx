// The pieces pages are made of.
//
// Owns:   buttons, badges, cards, notices, heads of pages: how they look to eyes and to screen readers.
// Never:  knows a page; asks the API.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ApiError, Loaded } from '../api';
import type { Channel, State } from '../types';
import { ago, clock, states, type Tone } from '../words';
import { Icon, type IconName } from './icons';

type Children = ComponentChildren;

// ---- time: one clock for all "3 min ago" ----------------------------------------------------------------------------------------------------

const ticks = new Set<() => void>();
setInterval(() => {
  for (const t of ticks) t();
}, 15000);

export function Time({ at, none = 'never' }: { at: string | null | undefined; none?: string }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const t = () => tick((n) => n + 1);
    ticks.add(t);
    return () => {
      ticks.delete(t);
    };
  }, []);
  return at ? (
    <time dateTime={at} title={clock(at)} class="nowrap">
      {ago(at)}
    </time>
  ) : (
    <span class="muted">{none}</span>
  );
}

// ---- buttons, badges ------------------------------------------------------------------------------------------------------------------------

export interface ButtonProps {
  children: Children;
  onClick?: () => void;
  href?: string;
  icon?: IconName;
  kind?: 'primary' | 'danger' | 'danger primary' | 'quiet';
  slim?: boolean;
  busy?: boolean;
  disabled?: boolean;
  type?: 'button' | 'submit';
  label?: string;
  download?: boolean;
}

export function Button({ children, onClick, href, icon, kind, slim, busy, disabled, type = 'button', label, download }: ButtonProps) {
  const name = ['button', kind, slim && 'slim'].filter(Boolean).join(' ');
  const inner = (
    <>
      {busy ? <Icon name="spinner" size={16} spin /> : icon && <Icon name={icon} size={16} />}
      {children}
    </>
  );
  if (href)
    return (
      <a class={name} href={href} download={download} aria-label={label}>
        {inner}
      </a>
    );
  return (
    <button class={name} type={type} onClick={onClick} disabled={disabled || busy} aria-busy={busy || undefined} aria-label={label}>
      {inner}
    </button>
  );
}

export const Badge = ({ tone, children }: { tone: Tone; children: Children }) => (
  <span class={`badge tone-${tone}`}>
    <span class="dot" aria-hidden="true" />
    {children}
  </span>
);

export const StateBadge = ({ state }: { state: State }) => <Badge tone={states[state]?.tone ?? 'off'}>{states[state]?.name ?? state}</Badge>;

export function ChannelBadge({ c }: { c: Channel }) {
  const bad = c.auth.switch.state === 'failed' && c.state !== 'needs_reauth';
  return (
    <>
      <StateBadge state={c.state} />
      {bad && (
        <>
          {' '}
          <span class="hidden">, </span>
          <Badge tone="warn">Switch failed</Badge>
        </>
      )}
    </>
  );
}

// ---- cards, notices, what is not there -------------------------------------------------------------------------------------------------------

export function Card({
  title,
  actions,
  children,
  flush,
  id,
}: {
  title?: Children;
  actions?: Children;
  children: Children;
  flush?: boolean;
  id?: string;
}) {
  return (
    <section class="card" id={id}>
      {title && (
        <header>
          <h2>{title}</h2>
          {actions && <div class="actions">{actions}</div>}
        </header>
      )}
      <div class={flush ? 'flush' : 'body'}>{children}</div>
    </section>
  );
}

const noticeIcons: Record<Tone, IconName> = { good: 'good', busy: 'info', warn: 'warn', bad: 'warn', off: 'info' };

export function Notice({
  tone,
  title,
  children,
  actions,
  live,
}: {
  tone: Tone;
  title?: Children;
  children?: Children;
  actions?: Children;
  live?: boolean;
}) {
  return (
    <div class={`notice tone-${tone}`} role={live ? (tone === 'bad' ? 'alert' : 'status') : undefined}>
      <Icon name={noticeIcons[tone]} />
      <div>
        {title && <strong>{title}</strong>}
        {children}
        {actions && <div class="actions">{actions}</div>}
      </div>
    </div>
  );
}

export const Problem = ({ error, again }: { error: ApiError; again?: () => void }) => (
  <Notice
    tone="bad"
    title={error.status === 404 ? 'Not found' : 'That did not work'}
    live
    actions={
      again && (
        <Button slim onClick={again}>
          Try again
        </Button>
      )
    }
  >
    {error.message}
  </Notice>
);

export function Empty(props: { icon: IconName; title: string; children?: Children; actions?: Children; heading?: 'h1' | 'h2' }) {
  const { icon, title, children, actions, heading: Heading = 'h2' } = props;
  return (
    <div class="empty">
      <Icon name={icon} size={32} />
      <Heading>{title}</Heading>
      {children && <div>{children}</div>}
      {actions && <div class="actions">{actions}</div>}
    </div>
  );
}

export const Skeleton = () => (
  <div class="skeleton" role="status">
    <span />
    <span />
    <span />
    <b class="hidden">Loading</b>
  </div>
);

/** What was loaded, or why not yet. */
export function Shown<T>({ of, children }: { of: Loaded<T>; children: (data: T) => Children }) {
  if (of.data)
    return (
      <>
        {of.error && <Problem error={of.error} again={of.reload} />}
        {children(of.data)}
      </>
    );
  return of.error ? <Problem error={of.error} again={of.reload} /> : <Skeleton />;
}

// ---- head of a page --------------------------------------------------------------------------------------------------------------------------

export function Head({ title, crumbs, sub, actions }: { title: string; crumbs?: [string, string][]; sub?: Children; actions?: Children }) {
  useEffect(() => {
    document.title = `${title} · Mailherd`;
  }, [title]);
  return (
    <>
      {crumbs && (
        <nav class="crumbs" aria-label="Path">
          {crumbs.map(([name, to], i) => (
            <span key={to}>
              {i > 0 && '/ '}
              <a href={to}>{name}</a>
            </span>
          ))}
        </nav>
      )}
      <div class="head">
        <div>
          <h1>{title}</h1>
          {sub && <div class="sub">{sub}</div>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </div>
    </>
  );
}
