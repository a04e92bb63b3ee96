// Signing in with an operator's token or a tenant's API key.
import { useEffect, useState } from 'preact/hooks';
import { signIn } from '../api';
import type { Session } from '../types';
import { Logo } from '../ui/icons';
import { Button, Field, Notice, useAct } from '../ui/ui';

export function SignIn({ onDone }: { onDone: (session: Session) => void }) {
  const [token, setToken] = useState('');
  const act = useAct();
  useEffect(() => {
    document.title = 'Sign in · Mailherd';
  }, []);
  const submit = async (e: Event) => {
    e.preventDefault();
    const session = await act.run(() => signIn(token.trim()));
    setToken('');
    if (session) onDone(session);
  };
  return (
    <main class="signin">
      <div class="card">
        <form onSubmit={submit} aria-label="Sign in">
          <div class="brand">
            <Logo size={32} />
            <h1>Mailherd</h1>
          </div>
          <Field
            label="Operator token or API key"
            type="password"
            value={token}
            onValue={setToken}
            auto="current-password"
            required
            focus
            hint="The operator token of this installation, or the API key of one tenant."
          />
          {act.error && (
            <Notice tone="bad" live>
              {act.error.message}
            </Notice>
          )}
          <Button kind="primary" type="submit" busy={act.busy} disabled={token.trim() === ''}>
            Sign in
          </Button>
        </form>
      </div>
    </main>
  );
}
