// The pieces pages are made of.
//
// Owns:   buttons, badges, fields, dialogs, notices, toasts: how they look to eyes and to screen readers.
// Never:  knows a page; asks the API.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { ApiError, FieldError, Loaded } from '../api';
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

// ---- fields -----------------------------------------------------------------------------------------------------------------------------------

export interface FieldProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  name?: string;
  errors?: FieldError[];
  hint?: Children;
  type?: string;
  placeholder?: string;
  required?: boolean;
  rows?: number;
  auto?: string;
  focus?: boolean;
  options?: [string, string][];
  disabled?: boolean;
}

/** A labelled input. `name`: the field's name in the API, by which its errors find it. */
export function Field({
  label,
  value,
  onValue,
  name,
  errors,
  hint,
  type = 'text',
  placeholder,
  required,
  rows,
  auto = 'off',
  focus,
  options,
  disabled,
}: FieldProps) {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const wrong = errors
    ?.filter((e) => e.field === name)
    .map((e) => e.message)
    .join('; ');
  useEffect(() => {
    if (focus) input.current?.focus();
  }, []);
  const told = [hint && `${id}-hint`, wrong && `${id}-error`].filter(Boolean).join(' ') || undefined;
  const common = {
    id,
    value,
    name,
    required,
    disabled,
    'aria-invalid': wrong ? ('true' as const) : undefined,
    'aria-describedby': told,
    onInput: (e: Event) => onValue((e.currentTarget as HTMLInputElement).value),
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {options ? (
        <select {...common}>
          {options.map(([v, words]) => (
            <option key={v} value={v}>
              {words}
            </option>
          ))}
        </select>
      ) : rows ? (
        <textarea {...common} rows={rows} placeholder={placeholder} spellcheck={false} />
      ) : (
        <input {...common} ref={input} type={type as 'text'} placeholder={placeholder} autocomplete={auto} spellcheck={false} autocapitalize="off" />
      )}
      {hint && (
        <div class="hint" id={`${id}-hint`}>
          {hint}
        </div>
      )}
      {wrong && (
        <div class="error" id={`${id}-error`}>
          {label} {wrong}
        </div>
      )}
    </div>
  );
}

export function Choices<T extends string>({
  legend,
  value,
  onValue,
  options,
  name,
}: {
  legend: string;
  value: T;
  onValue: (v: T) => void;
  name: string;
  options: { value: T; title: Children; hint?: Children }[];
}) {
  return (
    <fieldset>
      <legend>{legend}</legend>
      <div class="choices">
        {options.map((o) => (
          <label class="choice" key={o.value}>
            <input type="radio" name={name} value={o.value} checked={o.value === value} onChange={() => onValue(o.value)} />
            <span class="title">{o.title}</span>
            {o.hint && <span class="hint">{o.hint}</span>}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function Check({ label, checked, onValue, hint }: { label: Children; checked: boolean; onValue: (v: boolean) => void; hint?: Children }) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(e) => onValue(e.currentTarget.checked)} />
      <span>
        {label}
        {hint && (
          <span class="muted small">
            <br />
            {hint}
          </span>
        )}
      </span>
    </label>
  );
}

/** Errors of fields that the form does not show, and of the request as a whole. */
export function FormError({ error, shown = [] }: { error: ApiError | null; shown?: string[] }) {
  if (!error) return null;
  const rest = error.fields.filter((f) => !shown.includes(f.field));
  if (error.fields.length > 0 && rest.length === 0)
    return (
      <Notice tone="bad" live>
        Please correct what is marked above.
      </Notice>
    );
  return (
    <Notice tone="bad" live>
      {rest.length > 0
        ? rest.map((f) => (
            <div key={f.field}>
              {f.field ? `${f.field}: ` : ''}
              {f.message}
            </div>
          ))
        : error.message}
    </Notice>
  );
}

// ---- dialogs -----------------------------------------------------------------------------------------------------------------------------------

export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: Children; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    ref.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog
      ref={ref}
      class={wide ? 'wide' : undefined}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
    >
      <div>
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

/** Asks before something that cannot be undone. `type`: what has to be typed first. */
export function Confirm({
  title,
  children,
  yes,
  onYes,
  onClose,
  type,
}: {
  title: string;
  children: Children;
  yes: string;
  onYes: () => Promise<unknown>;
  onClose: () => void;
  type?: string;
}) {
  const [typed, setTyped] = useState('');
  const act = useAct();
  return (
    <Dialog title={title} onClose={onClose}>
      <div>{children}</div>
      {type && <Field label={`Type ${type} to go on`} value={typed} onValue={setTyped} focus />}
      {act.error && <Problem error={act.error} />}
      <div class="actions">
        <Button kind="danger primary" busy={act.busy} disabled={type !== undefined && typed !== type} onClick={() => act.run(onYes)}>
          {yes}
        </Button>
        <Button onClick={onClose}>Cancel</Button>
      </div>
    </Dialog>
  );
}

// ---- doing something -----------------------------------------------------------------------------------------------------------------------------

/** One request of a form or a button: busy while it runs, its error afterwards. */
export function useAct() {
  const [state, set] = useState<{ busy: boolean; error: ApiError | null }>({ busy: false, error: null });
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);
  return {
    ...state,
    clear: () => set({ busy: false, error: null }),
    run: async <T,>(work: () => Promise<T>): Promise<T | undefined> => {
      set({ busy: true, error: null });
      try {
        const done = await work();
        if (alive.current) set({ busy: false, error: null });
        return done;
      } catch (e) {
        if (alive.current) set({ busy: false, error: e as ApiError });
        return undefined;
      }
    },
  };
}

let showToast: (tone: Tone, text: string) => void = () => {};
export const toast = (text: string, tone: Tone = 'good') => showToast(tone, text);

export function Toasts() {
  const [all, set] = useState<{ id: number; tone: Tone; text: string }[]>([]);
  showToast = (tone, text) => {
    const id = Date.now() + Math.random();
    set((now) => [...now.slice(-3), { id, tone, text }]);
    setTimeout(() => set((now) => now.filter((t) => t.id !== id)), 6000);
  };
  return (
    <section class="toasts" aria-label="Notifications" aria-live="polite">
      {all.map((t) => (
        <div class="toast" key={t.id}>
          <span class={t.tone === 'bad' ? 'bad-text' : 'good-text'}>
            <Icon name={t.tone === 'bad' ? 'warn' : 'good'} />
          </span>
          {t.text}
        </div>
      ))}
    </section>
  );
}

export function Copy({ text }: { text: string }) {
  const [done, set] = useState(false);
  return (
    <Button
      slim
      onClick={() =>
        navigator.clipboard?.writeText(text).then(() => {
          set(true);
          setTimeout(() => set(false), 2000);
        })
      }
    >
      {done ? 'Copied' : 'Copy'}
    </Button>
  );
}

export function SecretOnce({ what, value }: { what: string; value: string }) {
  return (
    <Notice tone="good" title={`${what}: keep it now, it is not shown again`} live>
      <div class="secret-once">
        <code>{value}</code>
        <Copy text={value} />
      </div>
    </Notice>
  );
}
