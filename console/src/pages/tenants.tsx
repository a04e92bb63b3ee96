// Tenants, their limits and their API keys.
import { useState } from 'preact/hooks';
import { all, ApiError, call, useLoaded } from '../api';
import { useEffect } from 'preact/hooks';
import { go, to } from '../route';
import type { ApiKey, Page, Session, Tenant } from '../types';
import { Icon } from '../ui/icons';
import { Button, Card, Confirm, Dialog, Empty, Field, FormError, Head, Problem, SecretOnce, Shown, Skeleton, Time, toast, useAct } from '../ui/ui';
import { bytes, count, plural } from '../words';

export function TenantsPage() {
  const [tenants, set] = useState<Tenant[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [text, setText] = useState('');
  const [adding, add] = useState(false);
  const load = () => all<Tenant>('/v1/tenants', (items) => set([...items])).catch(setError);
  useEffect(() => {
    void load();
  }, []);
  const shown = (tenants ?? []).filter((t) => `${t.name}\n${t.id}`.toLowerCase().includes(text.toLowerCase()));
  const button = (
    <Button kind="primary" icon="plus" onClick={() => add(true)}>
      Create tenant
    </Button>
  );
  return (
    <>
      <Head title="Tenants" sub={tenants && <span>{plural(tenants.length, 'tenant')}</span>} actions={button} />
      {error && <Problem error={error} again={load} />}
      {!tenants && !error && (
        <Card>
          <Skeleton />
        </Card>
      )}
      {tenants?.length === 0 && (
        <Card>
          <Empty icon="tenants" title="No tenants yet" actions={button}>
            A tenant is a customer: it has channels, OAuth apps and API keys of its own.
          </Empty>
        </Card>
      )}
      {tenants && tenants.length > 0 && (
        <section class="card">
          <div class="toolbar">
            <div class="field-search">
              <Icon name="search" size={16} />
              <input
                type="search"
                aria-label="Search tenants"
                placeholder="Name or id"
                value={text}
                onInput={(e) => setText(e.currentTarget.value)}
              />
            </div>
          </div>
          <div class="scroll" tabIndex={0} role="region" aria-label="Tenants">
            <table>
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Id</th>
                  <th class="right">Channels allowed</th>
                  <th class="right">Created</th>
                </tr>
              </thead>
              <tbody>
                {shown.slice(0, 500).map((t) => (
                  <tr key={t.id}>
                    <td>
                      <a href={to.channels(t.id)}>
                        <b>{t.name}</b>
                      </a>
                    </td>
                    <td class="mono">{t.id}</td>
                    <td class="right num">{count(t.limits.max_channels)}</td>
                    <td class="right">
                      <Time at={t.created_at} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
      {adding && <NewTenant onClose={() => add(false)} />}
    </>
  );
}

function NewTenant({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('');
  const act = useAct();
  const submit = async (e: Event) => {
    e.preventDefault();
    const made = await act.run(() => call<Tenant>('POST', '/v1/tenants', { name: name.trim() }));
    if (made) go(`/t/${made.id}/channels`);
  };
  return (
    <Dialog title="Create tenant" onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field label="Name" name="name" value={name} onValue={setName} errors={act.error?.fields} focus required />
        <FormError error={act.error} shown={['name']} />
        <div class="actions">
          <Button kind="primary" type="submit" busy={act.busy} disabled={!name.trim()}>
            Create
          </Button>
          <Button onClick={onClose}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}

export function TenantPage({ tenant, session }: { tenant: string; session: Session }) {
  const loaded = useLoaded<Tenant>(`/v1/tenants/${tenant}`);
  return <Shown of={loaded}>{(t) => <OneTenant t={t} operator={session.role === 'operator'} onChanged={loaded.set} />}</Shown>;
}

function OneTenant({ t, operator, onChanged }: { t: Tenant; operator: boolean; onChanged: (t: Tenant) => void }) {
  const [name, setName] = useState(t.name);
  const [most, setMost] = useState(String(t.limits.max_channels));
  const [size, setSize] = useState(String(Math.round(t.limits.max_message_bytes / 1048576)));
  const [deleting, del] = useState(false);
  const act = useAct();
  const save = async (e: Event) => {
    e.preventDefault();
    const done = await act.run(() =>
      call<Tenant>('PATCH', `/v1/tenants/${t.id}`, {
        name: name.trim(),
        limits: { max_channels: Number(most), max_message_bytes: Number(size) * 1048576 },
      }),
    );
    if (done) {
      onChanged(done);
      toast('Saved');
    }
  };
  return (
    <>
      <Head
        title={t.name}
        sub={
          <>
            <span class="mono">{t.id}</span>
            <span>
              created <Time at={t.created_at} />
            </span>
          </>
        }
        actions={<Button href={to.channels(t.id)}>Channels</Button>}
      />
      <div class="stack">
        <ApiKeys tenant={t.id} />
        {operator ? (
          <Card title="Settings">
            <form class="form" onSubmit={save}>
              <Field label="Name" name="name" value={name} onValue={setName} errors={act.error?.fields} />
              <div class="pair">
                <Field label="Channels allowed" name="limits.max_channels" value={most} onValue={setMost} errors={act.error?.fields} />
                <Field
                  label="Largest message, MiB"
                  name="limits.max_message_bytes"
                  value={size}
                  onValue={setSize}
                  errors={act.error?.fields}
                  hint="A larger one is recorded without its body."
                />
              </div>
              <FormError error={act.error} shown={['name', 'limits.max_channels', 'limits.max_message_bytes']} />
              <div class="formfoot">
                <Button kind="primary" type="submit" busy={act.busy}>
                  Save
                </Button>
                <Button kind="danger" onClick={() => del(true)}>
                  Delete the tenant
                </Button>
              </div>
            </form>
          </Card>
        ) : (
          <Card title="Limits">
            <dl class="facts">
              <dt>Channels allowed</dt>
              <dd class="num">{count(t.limits.max_channels)}</dd>
              <dt>Largest message</dt>
              <dd>{bytes(t.limits.max_message_bytes)}</dd>
            </dl>
          </Card>
        )}
      </div>
      {deleting && (
        <Confirm
          title={`Delete ${t.name}?`}
          yes="Delete everything"
          type={t.name}
          onClose={() => del(false)}
          onYes={async () => {
            await call('DELETE', `/v1/tenants/${t.id}`);
            sessionStorage.removeItem('mailherd-tenant');
            go('/tenants');
            location.reload();
          }}
        >
          All its channels, messages, OAuth apps and keys are deleted with it. This cannot be undone.
        </Confirm>
      )}
    </>
  );
}

function ApiKeys({ tenant }: { tenant: string }) {
  const base = `/v1/tenants/${tenant}/api-keys`;
  const keys = useLoaded<Page<ApiKey>>(`${base}?limit=1000`);
  const [name, setName] = useState('');
  const [made, setMade] = useState<ApiKey | null>(null);
  const [revoking, revoke] = useState<ApiKey | null>(null);
  const act = useAct();
  const create = async (e: Event) => {
    e.preventDefault();
    const key = await act.run(() => call<ApiKey>('POST', base, { name: name.trim() }));
    if (key) {
      setMade(key);
      setName('');
      keys.reload();
    }
  };
  return (
    <Card title="API keys">
      <div class="stack">
        {made?.key && <SecretOnce what={`Key ${made.name}`} value={made.key} />}
        <Shown of={keys}>
          {(p) =>
            p.items.length === 0 ? (
              <p class="muted">No keys yet. A key opens the API, and this console, for this tenant only.</p>
            ) : (
              <div class="scroll" tabIndex={0} role="region" aria-label="API keys">
                <table>
                  <thead>
                    <tr>
                      <th>Name</th>
                      <th>Id</th>
                      <th>Last used</th>
                      <th>Created</th>
                      <th>
                        <span class="hidden">Actions</span>
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {p.items.map((k) => (
                      <tr key={k.id}>
                        <td>
                          <b>{k.name}</b>
                        </td>
                        <td class="mono">{k.id}</td>
                        <td>
                          <Time at={k.last_used_at} />
                        </td>
                        <td>
                          <Time at={k.created_at} />
                        </td>
                        <td class="right">
                          <Button slim kind="danger" onClick={() => revoke(k)} label={`Revoke ${k.name}`}>
                            Revoke
                          </Button>
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )
          }
        </Shown>
        <form onSubmit={create} class="form">
          <div class="pair">
            <Field label="New key's name" name="name" value={name} onValue={setName} errors={act.error?.fields} placeholder="Helpdesk production" />
          </div>
          <FormError error={act.error} shown={['name']} />
          <div class="actions">
            <Button type="submit" busy={act.busy} disabled={!name.trim()} icon="key">
              Create key
            </Button>
          </div>
        </form>
      </div>
      {revoking && (
        <Confirm
          title={`Revoke ${revoking.name}?`}
          yes="Revoke"
          onClose={() => revoke(null)}
          onYes={async () => {
            await call('DELETE', `${base}/${revoking.id}`);
            revoke(null);
            keys.reload();
            toast('Revoked');
          }}
        >
          Programs and console sessions that use it are refused from now on.
        </Confirm>
      )}
    </Card>
  );
}
