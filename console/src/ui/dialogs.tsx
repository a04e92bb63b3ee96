// Dialogs, requests under way, toasts: what answers something that somebody did.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../api';
import type { Tone } from '../words';
import { Button, Notice, Problem } from './base';
import { Field } from './form';
import { Icon } from './icons';

type Children = ComponentChildren;

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
    set((now) => [...now.slice(-1), { id, tone, text }]);
    setTimeout(() => set((now) => now.filter((t) => t.id !== id)), 5000);
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
