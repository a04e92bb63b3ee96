// The OpenID provider itself: oidc-provider configured so that what it issues opens mailboxes of a Dovecot.
//
// Owns:   configuration, storage in memory, access token claims, the page on which a person signs in.
// Never:  faults and logs (front.mjs), anything but loopback.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

// The mailbox as a resource server. Any scope that product code asks for at Microsoft or Google is good here as well.
export const RESOURCE = 'urn:mailherd:mail';
const NOBODY = 'nobody@none.invalid';
const OUTLOOK = ['https://outlook.office.com', 'https://outlook.office365.com'];
const MAIL_SCOPES = ['mail', 'https://mail.google.com/',
  ...OUTLOOK.flatMap((host) => ['IMAP.AccessAsUser.All', 'POP.AccessAsUser.All', 'SMTP.Send', '.default'].map((scope) => `${host}/${scope}`))];
const OIDC_SCOPES = ['openid', 'offline_access', 'email', 'profile'];
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** All of the provider's objects, without the shipped adapter's limit of 1,000. Expiry is the models' own check. */
export class Store {
  constructor() { this.items = new Map(); this.byGrant = new Map(); this.byCode = new Map(); this.byUid = new Map(); }

  adapter(model) {
    const key = (id) => `${model}:${id}`;
    const { items, byGrant, byCode, byUid } = this;
    return {
      async upsert(id, payload) {
        items.set(key(id), payload);
        if (payload.grantId) byGrant.set(payload.grantId, (byGrant.get(payload.grantId) ?? new Set()).add(key(id)));
        if (payload.userCode) byCode.set(payload.userCode, id);
        if (model === 'Session') byUid.set(payload.uid, id);
      },
      async find(id) { return items.get(key(id)); },
      async findByUserCode(code) { return this.find(byCode.get(code)); },
      async findByUid(uid) { return this.find(byUid.get(uid)); },
      async consume(id) { const item = items.get(key(id)); if (item) item.consumed = Math.floor(Date.now() / 1000); },
      async destroy(id) { items.delete(key(id)); },
      async revokeByGrantId(grantId) { for (const item of byGrant.get(grantId) ?? []) items.delete(item); byGrant.delete(grantId); },
    };
  }

  /** Forgets every grant of an account and what was issued from it. */
  revokeAccount(account) {
    let count = 0;
    for (const [key, item] of this.items) {
      if (item.accountId !== account) continue;
      this.items.delete(key);
      if (key.startsWith('Grant:')) count += 1;
    }
    return count;
  }

  get(model, id) { return this.items.get(`${model}:${id}`); }
}

export function clientMetadata({ id, secret, redirect_uris: uris, auth_method: method = 'client_secret_post', public_key: publicKey, app_domain: domain }) {
  const metadata = {
    client_id: id,
    redirect_uris: uris?.length ? uris : ['http://127.0.0.1/oauth2/callback'],
    grant_types: ['authorization_code', 'refresh_token', DEVICE_GRANT, ...(domain ? ['client_credentials'] : [])],
    response_types: ['code'],
    token_endpoint_auth_method: method,
  };
  if (secret && method.startsWith('client_secret')) metadata.client_secret = secret;
  if (publicKey) metadata.jwks = { keys: [{ ...createPublicKey(publicKey).export({ format: 'jwk' }), use: 'sig' }] };
  if (domain) metadata.app_domain = domain;
  return metadata;
}

/** What a token opens: one mailbox, perhaps a shared one too, or (an application's own) all of a domain. */
export function mailClaims(token, state) {
  if (token.kind === 'ClientCredentials') {
    const domain = state.store.get('Client', token.clientId)?.app_domain ?? 'none.invalid';
    return { email: NOBODY, shared: NOBODY, app_mailbox: `any@${domain}` };
  }
  return { email: token.accountId, shared: state.shared.get(token.accountId) ?? NOBODY, app_mailbox: NOBODY };
}

export function makeProvider(issuer, state, options) {
  const ttl = () => state.accessTokenTtl;
  const provider = new Provider(issuer, {
    adapter: (model) => state.store.adapter(model),
    jwks: { keys: state.keys },
    clients: [],
    extraClientMetadata: { properties: ['app_domain'] },
    scopes: [...OIDC_SCOPES, ...MAIL_SCOPES],
    claims: { openid: ['sub'], email: ['email'] },
    cookies: { keys: ['loopback only'] },
    ttl: {
      AccessToken: ttl, ClientCredentials: ttl, RefreshToken: options.refresh_token_ttl, Grant: options.refresh_token_ttl,
      IdToken: 3600, Interaction: 3600, Session: 3600, DeviceCode: 900, AuthorizationCode: 60,
    },
    rotateRefreshToken: options.rotate,
    issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: async () => false,
    findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id, email: id }) }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    clientBasedCORS: () => false,
    enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: MAIL_SCOPES.join(' '), audience: RESOURCE, accessTokenTTL: ttl(),
          accessTokenFormat: options.opaque ? 'opaque' : 'jwt', jwt: { sign: { alg: 'RS256', kid: state.keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (ctx, token) => mailClaims(token, state),
    // Dovecot refuses the standard's "at+jwt".
    formats: { customizers: { jwt: (ctx, token, jwt) => { jwt.header = { ...jwt.header, typ: 'JWT' }; } } },
  });
  provider.proxy = true;  // the front says which address and scheme the client used
  // A client behind a Microsoft-style path signs its assertion for that path (RFC 7523, 3).
  const audiences = provider.OIDCContext.prototype.clientJwtAuthExpectedAudience;
  provider.OIDCContext.prototype.clientJwtAuthExpectedAudience = function expected() {
    return audiences.call(this).add(this.ctx.get('x-asked-url'));
  };
  provider.on('server_error', (ctx, error) => console.error('provider failed', ctx.path, error));
  return provider;
}

/** A grant as if the account had consented in a browser; returns its first refresh token. */
export async function grantWithoutBrowser(provider, account, clientId) {
  const client = await provider.Client.find(clientId);
  if (!client) throw new Error(`no client ${clientId}`);
  const grantId = await saveGrant(provider, account, clientId, [...OIDC_SCOPES, ...MAIL_SCOPES]);
  return new provider.RefreshToken({
    accountId: account, client, grantId, gty: 'authorization_code', resource: RESOURCE, authTime: Math.floor(Date.now() / 1000),
    scope: [...OIDC_SCOPES, ...MAIL_SCOPES].join(' '),
  }).save();
}

async function saveGrant(provider, account, clientId, scopes) {
  const grant = new provider.Grant({ accountId: account, clientId });
  // The provider counts a mail scope among its own as well, since its list of scopes has it.
  grant.addOIDCScope(scopes.join(' '));
  grant.addResourceScope(RESOURCE, scopes.filter((scope) => MAIL_SCOPES.includes(scope)));
  return grant.save();
}

export async function approveDevice(provider, userCode, account) {
  const code = await provider.DeviceCode.findByUserCode(userCode.toUpperCase().replace(/\W/g, ''));
  if (!code) throw new Error('no such user code');
  const scopes = (code.params.scope ?? '').split(' ');
  Object.assign(code, {
    accountId: account, authTime: Math.floor(Date.now() / 1000), resource: RESOURCE, scope: scopes.join(' '),
    grantId: await saveGrant(provider, account, code.clientId, scopes),
  });
  await code.save();
}

const PAGE = readFileSync(new URL('./sign-in.html', import.meta.url), 'utf8');
const escapeHtml = (text) => String(text ?? '').replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** GET shows the sign-in page; POST {account} signs in and consents, POST {deny} is the person's Cancel. */
export async function interact(provider, req, res, body) {
  const { params } = await provider.interactionDetails(req, res);
  if (req.method !== 'POST') {
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    res.end(PAGE.replace('{{client}}', escapeHtml(params.client_id)).replace('{{account}}', escapeHtml(params.login_hint)));
    return;
  }
  const form = new URLSearchParams(body);
  if (form.has('deny') || !form.get('account')) {
    await provider.interactionFinished(req, res, { error: 'access_denied', error_description: 'The person pressed Cancel' });
    return;
  }
  const account = form.get('account').trim().toLowerCase();
  const grantId = await saveGrant(provider, account, params.client_id, (params.scope ?? '').split(' '));
  await provider.interactionFinished(req, res, { login: { accountId: account }, consent: { grantId } });
}
