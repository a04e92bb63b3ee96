// OAuth apps: registrations at providers, their secrets and when those end.
import { useState } from 'preact/hooks';
import { call, publicUrl, useLoaded } from '../api';
import { go, to, useRoute } from '../route';
import type { OauthApp, Page, Provider, Setup } from '../types';
import { Badge, Button, Card, Choices, Confirm, Copy, Empty, Field, FormError, Head, Notice, Shown, toast, useAct } from '../ui/ui';
import { ago, date, providers } from '../words';

const soon = 30 * 86400_000;
export const endOf = (a: OauthApp) => a.client_secret_expires_at ?? null;

export function ExpiryBadge({ at }: { at: string | null }) {
  if (!at) return <span class="muted">not known</span>;
  const left = Date.parse(at) - Date.now();
  if (left < 0) return <Badge tone="bad">ended {ago(at)}</Badge>;
  return left < soon ? <Badge tone="warn">ends {ago(at)}</Badge> : <span class="nowrap">{date(at)}</span>;
}

export function AppsPage({ tenant }: { tenant: string }) {
  const apps = useLoaded<Page<OauthApp>>(`/v1/tenants/${tenant}/oauth-apps?limit=1000`, (n) => n.kind === 'channel' && n.tenant === tenant);
  const ending = (apps.data?.items ?? []).filter((a) => endOf(a) && Date.parse(endOf(a)!) - Date.now() < soon);
  const add = (
    <Button kind="primary" icon="plus" href={to.newApp(tenant)}>
      Register OAuth app
    </Button>
  );
  return (
    <>
      <Head title="OAuth apps" sub={<span>Registrations at Microsoft, Google and others, to which consent is given.</span>} actions={add} />
      <div class="stack">
        {ending.map((a) => (
          <Notice
            key={a.id}
            tone={Date.parse(endOf(a)!) < Date.now() ? 'bad' : 'warn'}
            title={`The secret of ${a.name} ${Date.parse(endOf(a)!) < Date.now() ? 'has ended' : `ends ${ago(endOf(a)!)}`}`}
            actions={
              <Button slim href={to.app(tenant, a.id)}>
                Renew it
              </Button>
            }
          >
            Make a new secret at the provider and enter it here: every channel goes on by itself, no new consent is needed.
          </Notice>
        ))}
        <Shown of={apps}>
          {(p) =>
            p.items.length === 0 ? (
              <Card>
                <Empty icon="key" title="No OAuth apps yet" actions={add}>
                  Channels that sign in by OAuth2 need the application that is registered at their provider.
                </Empty>
              </Card>
            ) : (
              <Card flush>
                <div class="scroll" tabIndex={0} role="region" aria-label="OAuth apps">
                  <table>
                    <thead>
                      <tr>
                        <th>Name</th>
                        <th>Provider</th>
                        <th>Client id</th>
                        <th>Secret ends</th>
                      </tr>
                    </thead>
                    <tbody>
                      {p.items.map((a) => (
                        <tr key={a.id}>
                          <td>
                            <a href={to.app(tenant, a.id)}>
                              <b>{a.name}</b>
                            </a>
                          </td>
                          <td>{providers[a.provider]}</td>
                          <td class="mono wrap-any">{a.client_id}</td>
                          <td>
                            <ExpiryBadge at={endOf(a)} />
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              </Card>
            )
          }
        </Shown>
      </div>
    </>
  );
}

export function AppPage({ tenant, id }: { tenant: string; id: string }) {
  const { query } = useRoute();
  const app = useLoaded<OauthApp>(id === 'new' ? null : `/v1/tenants/${tenant}/oauth-apps/${id}`);
  if (id === 'new') return <AppForm tenant={tenant} app={null} provider={(query.get('provider') as Provider) ?? 'microsoft'} />;
  return <Shown of={app}>{(a) => <AppForm tenant={tenant} app={a} provider={a.provider} />}</Shown>;
}

const redirectUri = () => `${publicUrl()}/oauth2/callback`;

function AppForm({ tenant, app, provider: first }: { tenant: string; app: OauthApp | null; provider: Provider }) {
  const [provider, setProvider] = useState<Provider>(first);
  const [f, setForm] = useState({
    name: app?.name ?? '',
    client_id: app?.client_id ?? '',
    by: app?.credential ?? 'client_secret',
    client_secret: '',
    client_secret_next: '',
    issuer: app?.issuer ?? '',
    private_key: '',
    certificate: '',
    authority: app?.authority ?? '',
    authorize_url: app?.authorize_url ?? '',
    token_url: app?.token_url ?? '',
    device_url: app?.device_url ?? '',
    scopes: app?.scopes.join(' ') ?? '',
    expires: app?.client_secret_expires_at?.slice(0, 10) ?? '',
  });
  const [deleting, del] = useState(false);
  const act = useAct();
  const set = (part: Partial<typeof f>) => setForm((now) => ({ ...now, ...part }));
  const errors = act.error?.fields;
  const field = (name: keyof typeof f, label: string, more: { hint?: string; placeholder?: string; type?: string; rows?: number } = {}) => (
    <Field label={label} name={name} value={f[name]} onValue={(v) => set({ [name]: v })} errors={errors} {...more} />
  );

  const save = async (e: Event) => {
    e.preventDefault();
    const out: Record<string, unknown> = { name: f.name.trim(), client_id: f.client_id.trim() };
    if (!app) out.provider = provider;
    if (f.by === 'client_secret' && f.client_secret) out.client_secret = f.client_secret;
    if (f.by === 'certificate' && (f.private_key || !app)) {
      out.private_key = f.private_key;
      out.certificate = f.certificate;
    }
    if (f.by === 'client_secret' && f.client_secret_next) out.client_secret_next = f.client_secret_next;
    if (f.by === 'client_secret' && f.expires && f.expires !== (app?.client_secret_expires_at?.slice(0, 10) ?? ''))
      out.client_secret_expires_at = `${f.expires}T00:00:00Z`;
    for (const name of ['issuer', 'authority', 'authorize_url', 'token_url', 'device_url'] as const)
      if (f[name].trim() && f[name] !== (app?.[name] ?? '')) out[name] = f[name].trim();
    const scopes = f.scopes.split(/[\s,]+/).filter(Boolean);
    if (scopes.join(' ') !== (app?.scopes.join(' ') ?? '')) out.scopes = scopes;
    const base = `/v1/tenants/${tenant}/oauth-apps`;
    const done = await act.run(() => (app ? call<OauthApp>('PATCH', `${base}/${app.id}`, out) : call<OauthApp>('POST', base, out)));
    if (!done) return;
    toast(app ? 'Saved' : `${done.name} registered`);
    go(`/t/${tenant}/apps`);
  };
  return (
    <>
      <Head
        title={app ? app.name : 'Register OAuth app'}
        crumbs={[['OAuth apps', to.apps(tenant)]]}
        sub={
          app && (
            <>
              <span>{providers[app.provider]}</span>
              {endOf(app) && <ExpiryBadge at={endOf(app)} />}
            </>
          )
        }
      />
      {app?.state === 'blocked' && (
        <div class="stack">
          <Notice tone="bad" title="This registration does not work">
            {app.blocked_detail} Every channel that uses it waits; they go on by themselves when it is mended.
          </Notice>
          <br />
        </div>
      )}
      <form class="form" onSubmit={save} noValidate>
        {!app && (
          <Card title="Provider">
            <Choices
              legend="Where is it registered?"
              name="provider"
              value={provider}
              onValue={setProvider}
              options={[
                { value: 'microsoft', title: 'Microsoft', hint: 'Entra ID' },
                { value: 'google', title: 'Google', hint: 'Google Cloud' },
                { value: 'custom', title: 'Other', hint: 'Any OAuth2 provider' },
              ]}
            />
          </Card>
        )}
        <Card title="Registration">
          <div class="stack">
            <div class="field">
              <span class="label">Redirect URI to register at the provider</span>
              <div class="secret-once">
                <code>{redirectUri()}</code>
                <Copy text={redirectUri()} />
              </div>
            </div>
            <div class="pair">
              {field('name', 'Name')}
              {field('client_id', 'Client id', { hint: provider === 'microsoft' ? 'Application (client) id' : undefined })}
            </div>
            {provider === 'custom' &&
              field('issuer', 'Issuer', {
                placeholder: 'https://login.example.com',
                hint: 'Its addresses are found by OpenID discovery; or enter them below.',
              })}
            {provider === 'microsoft' &&
              field('authority', 'Directory', {
                placeholder: 'organizations',
                hint: "The directory's id or domain; common or organizations for any. Applications without a person need their own.",
              })}
          </div>
        </Card>
        <Card title={app ? 'Renew its secret' : 'Secret'}>
          <div class="stack">
            <Choices
              legend="It proves itself by"
              name="by"
              value={f.by}
              onValue={(by) => set({ by })}
              options={[
                { value: 'client_secret', title: 'Client secret' },
                { value: 'certificate', title: 'Certificate', hint: 'Signed assertions' },
              ]}
            />
            {f.by === 'client_secret' ? (
              <div class="pair">
                {field('client_secret', app ? 'New client secret' : 'Client secret', {
                  type: 'password',
                  hint: app ? 'Left empty, the present one stays.' : undefined,
                })}
                {field('expires', 'Its last day', { type: 'date', hint: 'To be warned in time' })}
                {app &&
                  field('client_secret_next', 'Second secret', {
                    type: 'password',
                    hint: app.client_secret_next
                      ? 'There is one; it is used when the first is refused.'
                      : 'Used when the first is refused: both are good during a change.',
                  })}
              </div>
            ) : (
              <>
                {field('private_key', 'Private key', { rows: 5, placeholder: '-----BEGIN PRIVATE KEY-----' })}
                {field('certificate', 'Certificate', { rows: 5, placeholder: '-----BEGIN CERTIFICATE-----' })}
              </>
            )}
            {app && <p class="muted small">Channels go on with the new secret by themselves; no new consent is needed.</p>}
          </div>
        </Card>
        <Card title="Addresses and scopes">
          <details class="more" open={provider === 'custom'}>
            <summary>{provider === 'custom' ? 'Where this provider is found' : "Other than the provider's usual ones"}</summary>
            <div class="stack">
              <div class="pair">
                {field('authorize_url', 'Authorization address')}
                {field('token_url', 'Token address')}
              </div>
              <div class="pair">
                {field('device_url', 'Device code address')}
                {field('scopes', 'Scopes', { hint: 'Separated by blanks' })}
              </div>
            </div>
          </details>
        </Card>
        <FormError error={act.error} shown={Object.keys(f)} />
        <div class="formfoot">
          <Button kind="primary" type="submit" busy={act.busy}>
            {app ? 'Save' : 'Register'}
          </Button>
          <Button href={to.apps(tenant)}>Cancel</Button>
          {app && (
            <Button kind="danger" onClick={() => del(true)}>
              Delete
            </Button>
          )}
        </div>
      </form>
      {app && <SetupCard tenant={tenant} app={app} />}
      {deleting && app && (
        <Confirm
          title={`Delete ${app.name}?`}
          yes="Delete"
          onClose={() => del(false)}
          onYes={async () => {
            await call('DELETE', `/v1/tenants/${tenant}/oauth-apps/${app.id}`);
            toast('Deleted');
            go(`/t/${tenant}/apps`);
          }}
        >
          It can be deleted when no channel uses it any longer.
        </Confirm>
      )}
    </>
  );
}

const list = (v: string[] | string | null | undefined) => (Array.isArray(v) ? v : (v ?? '').split('\n')).filter(Boolean);

/** What the organisation's administrators do, once, so that the application opens mailboxes without a person. */
function SetupCard({ tenant, app }: { tenant: string; app: OauthApp }) {
  const [open, setOpen] = useState(false);
  const setup = useLoaded<Setup>(open ? `/v1/tenants/${tenant}/oauth-apps/${app.id}/setup` : null);
  return (
    <div class="form setup">
      <Card title="Without a person">
        <details class="more" onToggle={(e) => setOpen(e.currentTarget.open)}>
          <summary>What the organisation's administrators do once</summary>
          {open && (
            <Shown of={setup}>
              {(s) => (
                <div class="stack">
                  {s.admin_consent_url && (
                    <div class="field">
                      <span class="label">1. The directory's administrator opens this address and allows the application</span>
                      <div class="secret-once">
                        <code>{s.admin_consent_url}</code>
                        <Copy text={s.admin_consent_url} />
                      </div>
                    </div>
                  )}
                  {list(s.powershell).length > 0 && (
                    <div class="field">
                      <span class="label">2. The mail administrator runs this in Exchange Online PowerShell</span>
                      <pre class="code" tabIndex={0}>
                        {list(s.powershell).join('\n')}
                      </pre>
                      <div>
                        <Copy text={list(s.powershell).join('\n')} />
                      </div>
                    </div>
                  )}
                  {list(s.notes).map((n) => (
                    <p class="muted small" key={n}>
                      {n}
                    </p>
                  ))}
                </div>
              )}
            </Shown>
          )}
        </details>
      </Card>
    </div>
  );
}
