// What stands before the provider: faults on demand, the log of token requests, Microsoft's paths.
//
// Owns:   the public listener's request handling; it forwards to the provider's inner listener and sees every answer.
// Never:  understands OAuth beyond the names it matches faults by.
import http from 'node:http';

const TENANT_PATH = /^\/[^/]+\/oauth2\/v2\.0\/(authorize|token|devicecode)$/;
const TENANT_FACTS = /^\/[^/]+\/v2\.0(\/\.well-known\/openid-configuration)$/;
const INNER = { authorize: '/auth', token: '/token', devicecode: '/device/auth' };

/** All of it, as a Buffer. */
export function readBody(req) {
  return new Promise((resolve, reject) => {
    const parts = [];
    req.on('data', (part) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts))).on('error', reject);
  });
}

/** The provider's own view of a request: its path, and for the authorization endpoint what people's browsers bring. */
function translate(req, publicUrl) {
  const url = new URL(req.url, publicUrl);
  const tenant = TENANT_PATH.exec(url.pathname);
  if (tenant) url.pathname = INNER[tenant[1]];
  const facts = TENANT_FACTS.exec(url.pathname);
  if (facts) url.pathname = facts[1];
  const headers = { ...req.headers, 'x-forwarded-proto': new URL(publicUrl).protocol.slice(0, -1), 'x-asked-url': publicUrl + req.url.split('?')[0] };
  if (url.pathname === '/auth') {
    // Every Connect asks who signs in and gets a refresh token, whatever an earlier one in the same browser did, and as
    // at Entra without prompt=consent in the request.
    url.searchParams.set('prompt', 'login consent');
    delete headers.cookie;
  }
  return { path: url.pathname + url.search, headers };
}

/** Who asks for what, for matching and the log. */
function describe(path, headers, body, state) {
  const form = new URLSearchParams(body.length < 65536 ? body.toString() : '');
  const basic = /^Basic (.*)$/.exec(headers.authorization ?? '');
  const client = form.get('client_id') ?? (basic ? decodeURIComponent(Buffer.from(basic[1], 'base64').toString().split(':')[0]) : '');
  const token = state.store.get('RefreshToken', form.get('refresh_token')) ?? state.store.get('AuthorizationCode', form.get('code'));
  return { path, grant_type: form.get('grant_type') ?? '', client, account: token?.accountId ?? '' };
}

function forward(innerPort, req, path, headers, body) {
  return new Promise((resolve, reject) => {
    const inner = http.request({ host: '127.0.0.1', port: innerPort, method: req.method, path, headers }, (answer) => {
      readBody(answer).then((content) => resolve({ status: answer.statusCode, headers: answer.headers, body: content }), reject);
    });
    inner.on('error', reject).end(body);
  });
}

function errorCode(answer) {
  try { return JSON.parse(answer.body.toString()).error ?? ''; } catch { return ''; }
}

export function makeFront(state, publicUrl, innerPort) {
  return async function handle(req, res) {
    const body = await readBody(req);
    const path = req.url.split('?')[0];
    const about = describe(path, req.headers, body, state);
    const text = `${about.path} ${about.grant_type} ${about.client} ${about.account}`;
    const fault = state.faults.find((candidate) => candidate.times !== 0 && text.includes(candidate.match));
    if (fault && fault.times > 0) fault.times -= 1;
    if (fault?.delay_ms) await new Promise((resolve) => { setTimeout(resolve, fault.delay_ms); });

    let answer;
    if (!fault || (!fault.status && !fault.lose_answer) || fault.lose_answer) {
      const { path: innerPath, headers } = translate(req, publicUrl);
      answer = await forward(innerPort, req, innerPath, headers, body);
    }
    const replaced = fault && (fault.status || fault.lose_answer);
    if (replaced) answer = fault.status ? { status: fault.status, headers: fault.headers, body: Buffer.from(fault.body) } : null;
    if (path.endsWith('/token')) {
      state.log.push({ ...about, status: answer?.status ?? 0, error: answer ? errorCode(answer) : '', fault: Boolean(fault), at: Date.now() / 1000 });
    }
    if (!answer) { req.socket.destroy(); return; }
    const headers = { ...answer.headers, 'content-length': answer.body.length };
    delete headers['transfer-encoding'];
    res.writeHead(answer.status, headers).end(req.method === 'HEAD' ? undefined : answer.body);
  };
}
