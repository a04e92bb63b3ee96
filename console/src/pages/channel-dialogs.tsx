// What asks before it does something to a channel: the switch of its sign-in, moving it.
import { useState } from 'preact/hooks';
import { type ApiError, call, useLoaded } from '../api';
import type { Channel, Node, OauthApp } from '../types';
import { Button, Dialog, Field, FormError, Notice, Problem, Shown, toast, useAct } from '../ui/ui';
import { plural, span } from '../words';
import { AuthForm, authBody, type AuthInput, hostOf, kindOfApp, needsPerson, noAuth, type useConnect } from './auth';

export function SwitchDialog({
  c,
  path,
  app,
  onClose,
  onDone,
  connect,
}: {
  c: Channel;
  path: string;
  app: OauthApp | null;
  onClose: () => void;
  onDone: (then?: 'connect') => void;
  connect: ReturnType<typeof useConnect>;
}) {
  const present: AuthInput =
    c.auth.type === 'basic'
      ? { ...noAuth, username: c.auth.account ?? c.address }
      : {
          ...noAuth,
          kind: kindOfApp(app ?? undefined),
          app: c.auth.app ?? '',
          mailbox: c.auth.mailbox ?? '',
          username: c.address,
          grant: c.auth.grant ?? 'authorization_code',
        };
  const [auth, setAuth] = useState(present);
  const [host, setHost] = useState('');
  const act = useAct();
  const wanted = hostOf(auth.kind, c.incoming.protocol);
  const other = wanted !== '' && wanted !== c.incoming.host;
  const person = needsPerson(auth);
  const store = async () => {
    await call('PUT', `${path}/auth`, authBody(auth));
    if (host) await call('PATCH', path, { incoming: { host } });
    return call<Channel>('GET', path);
  };
  const submit = async (e: Event) => {
    e.preventDefault();
    if (person) {
      // The window is opened in this click; what was stored is seen by the dialog's page.
      let refused: ApiError | null = null;
      const stored = async () => {
        try {
          return await store();
        } catch (error) {
          refused = error as ApiError;
          throw error;
        }
      };
      await connect.start(stored, c.address, auth.grant === 'device_code');
      if (refused) {
        connect.cancel();
        await act.run(async () => {
          throw refused;
        });
      } else onDone();
    } else if (await act.run(store)) {
      toast('Stored. The new sign-in is being proven.');
      onDone();
    }
  };
  return (
    <Dialog title="Switch the sign-in" onClose={onClose} wide>
      <form class="stack" onSubmit={submit}>
        <p class="muted">
          The new sign-in is brought all the way to the mailbox before the present one is given up. Mail keeps arriving; if it fails, nothing changes.
        </p>
        <AuthForm tenant={c.tenant} value={auth} onValue={setAuth} errors={act.error?.fields} />
        {(other || host) && (
          <Field
            label="Also move to this server"
            value={host}
            onValue={setHost}
            placeholder={`leave empty to stay at ${c.incoming.host}`}
            hint={other ? `${wanted} is the provider's own.` : undefined}
          />
        )}
        <FormError error={act.error} shown={['username', 'password', 'app', 'mailbox']} />
        <div class="formfoot">
          <Button kind="primary" type="submit" icon={person ? 'link' : undefined} busy={act.busy} disabled={auth.kind !== 'password' && !auth.app}>
            {person ? 'Connect and switch' : 'Switch'}
          </Button>
          <Button onClick={onClose}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}

export function MoveDialog({ c, path, onClose }: { c: Channel; path: string; onClose: () => void }) {
  const cluster = useLoaded<{ nodes: Node[] }>('/v1/cluster');
  const others = (cluster.data?.nodes ?? []).filter((n) => n.state === 'active' && n.name !== c.node);
  const [node, setNode] = useState('');
  const act = useAct();
  const chosen = node || others[0]?.name || '';
  return (
    <Dialog title="Move to another node" onClose={onClose}>
      <p class="muted">The other node opens the mailbox first and then takes over. No mail is missed and there is no moment without a session.</p>
      <Shown of={cluster}>
        {() =>
          others.length === 0 ? (
            <Notice tone="off" title="There is no other active node">
              {c.node ? `${c.node} serves this channel and is the only one.` : 'No node can take it at the moment.'}
            </Notice>
          ) : (
            <Field
              label="Node"
              value={chosen}
              onValue={setNode}
              options={others.map((n) => [n.name, `${n.name} (${plural(n.channels, 'channel')}, lease ${span(n.lease_age_seconds)} old)`])}
            />
          )
        }
      </Shown>
      {act.error && <Problem error={act.error} />}
      <div class="actions">
        <Button
          kind="primary"
          busy={act.busy}
          disabled={!chosen}
          onClick={() =>
            act.run(async () => {
              await call('POST', `${path}/move`, { node: chosen });
              toast(`Moving to ${chosen}`);
              onClose();
            })
          }
        >
          Move
        </Button>
        <Button onClick={onClose}>Cancel</Button>
      </div>
    </Dialog>
  );
}
