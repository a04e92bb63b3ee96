// Starts the identity provider of the tests and the demo: node server.mjs <settings.json>
//
// Owns:   listeners, signing keys on disk, the endpoints that only tests use (/_...).
// Never:  listens on anything but 127.0.0.1.
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { makeFront, readBody } from './front.mjs';
import { approveDevice, clientMetadata, grantWithoutBrowser, interact, mailClaims, makeProvider, Store } from './provider.mjs';

const options = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const keyDir = join(options.root, 'keys', 'default', 'RS256');
const keyFile = join(options.root, 'jwks.json');
const state = { store: new Store(), shared: new Map(), faults: [], log: [], keys: [], accessTokenTtl: options.access_token_ttl };

/** Makes the signing keys known to the mail server: <keys>/default/RS256/<kid>, PEM SubjectPublicKeyInfo. */
function publishKeys() {
  rmSync(keyDir, { recursive: true, force: true });
  mkdirSync(keyDir, { recursive: true });
  for (const key of state.keys) {
    const { kty, n, e } = key;
    writeFileSync(join(keyDir, key.kid), createPublicKey({ key: { kty, n, e }, format: 'jwk' }).export({ type: 'spki', format: 'pem' }));
  }
  writeFileSync(keyFile, JSON.stringify(state.keys), { mode: 0o600 });
}

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: 'RS256' };
}

async function addClient(client) {
  const metadata = clientMetadata(client);
  await state.store.adapter('Client').upsert(metadata.client_id, metadata);
}

state.keys = existsSync(keyFile) ? JSON.parse(readFileSync(keyFile, 'utf8')) : [newKey()];
publishKeys();
for (const client of options.clients) await addClient(client);

const tls = options.certificate ? { cert: readFileSync(options.certificate), key: readFileSync(options.key) } : null;
let publicUrl;
let provider;

async function introspect(body) {
  const value = new URLSearchParams(body).get('token') ?? '';
  const token = await provider.AccessToken.find(value) ?? await provider.ClientCredentials.find(value);
  return token ? { active: true, client_id: token.clientId, exp: token.exp, ...mailClaims(token, state) } : { active: false };
}

// Tests only. Each takes and gives JSON.
const admin = {
  'POST /_grant': async ({ account, client, shared }) => {
    if (shared) state.shared.set(account, shared);
    return { refresh_token: await grantWithoutBrowser(provider, account, client) };
  },
  'POST /_revoke': async ({ account }) => ({ grants: state.store.revokeAccount(account) }),
  'POST /_client': async (client) => { await addClient(client); return {}; },
  'POST /_approve_device': async ({ user_code: code, account }) => { await approveDevice(provider, code, account); return {}; },
  'POST /_settings': async ({ access_token_ttl: ttl }) => { state.accessTokenTtl = ttl; return {}; },
  'POST /_fault': async (fault) => { state.faults.push({ match: '/token', status: 0, body: '', headers: {}, delay_ms: 0, times: 1, ...fault }); return {}; },
  'DELETE /_fault': async () => { state.faults = []; return {}; },
  'GET /_log': async () => state.log,
  'DELETE /_log': async () => { state.log = []; return {}; },
  'POST /_rotate_key': async ({ forget_old: forget }) => {
    state.keys = [newKey(), ...(forget ? [] : state.keys)];
    publishKeys();
    provider = makeProvider(publicUrl, state, options);
    return { kid: state.keys[0].kid };
  },
};

const sendJson = (res, status, value) => res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

async function answerAdmin(req, res) {
  const body = (await readBody(req)).toString();
  try {
    sendJson(res, 200, await admin[`${req.method} ${req.url}`](body ? JSON.parse(body) : {}));
  } catch (error) {
    sendJson(res, 400, { error: String(error.message ?? error) });
  }
}

const guarded = (handler) => (req, res) => Promise.resolve(handler(req, res)).catch((error) => {
  console.error(req.method, req.url, error);
  if (!res.headersSent) res.writeHead(500);
  res.end();
});

const inner = http.createServer(guarded(async (req, res) => {
  if (req.url === '/_introspect') { sendJson(res, 200, await introspect((await readBody(req)).toString())); return; }
  if (req.url.startsWith('/interaction/')) { await interact(provider, req, res, (await readBody(req)).toString()); return; }
  await provider.callback()(req, res);
}));

let front;
const handler = guarded((req, res) => (admin[`${req.method} ${req.url}`] ? answerAdmin(req, res) : front(req, res)));
const outer = tls ? https.createServer(tls, handler) : http.createServer(handler);

await new Promise((resolve) => { inner.listen(0, '127.0.0.1', resolve); });
outer.on('error', (error) => { console.error(error.message); process.exit(1); });
outer.listen(options.port, '127.0.0.1', () => {
  const { port } = outer.address();
  publicUrl = `${tls ? 'https' : 'http'}://${options.host}:${port}`;
  provider = makeProvider(publicUrl, state, options);
  front = makeFront(state, publicUrl, inner.address().port);
  writeFileSync(`${options.ready_file}.new`, JSON.stringify({ port, url: publicUrl }));
  renameSync(`${options.ready_file}.new`, options.ready_file);
});
process.on('SIGTERM', () => process.exit(0));
