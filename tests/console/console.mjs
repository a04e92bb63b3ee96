// A browser, the world it looks at, and the words by which tests speak to both.
//
// Owns:   the world's process (tests/console/world.cpp) and the browser; both end with `stop`.
// Never:  sleeps; leaves a request of the page to another host unnoticed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browserPath = process.env.CONSOLE_BROWSER ?? '/usr/bin/chromium';
const pictures = process.env.CONSOLE_SCREENSHOTS;
// Refusals that a test asks for, and what the browser says of a stream that ends.
const expected = /40[01349]|405|410|422|50[03]|ERR_INCOMPLETE_CHUNKED|net::ERR_/;

export class Console {
  strangers = [];
  complaints = [];
  unfit = [];

  static async start() {
    const c = new Console();
    c.process = spawn(process.env.CONSOLE_WORLD, { stdio: ['pipe', 'pipe', 'inherit'] });
    c.lines = createInterface({ input: c.process.stdout })[Symbol.asyncIterator]();
    c.world = JSON.parse((await c.lines.next()).value ?? assert.fail('the world did not begin'));
    c.browser = await chromium.launch({
      executablePath: browserPath,
      args: ['--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'],
    });
    c.context = await c.browser.newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: 'reduce', colorScheme: 'light' });
    c.context.setDefaultTimeout(30_000);
    // What mail would load, if it could.
    c.tracker = createServer((req, res) => {
      c.strangers.push(req.url);
      res.end();
    });
    await new Promise((resolve) => {
      c.tracker.listen(0, '127.0.0.1', resolve);
    });
    if (pictures) mkdirSync(pictures, { recursive: true });
    const own = [c.world.url, c.world.issuer];
    const stranger = (r) => {
      if (!own.some((u) => r.url().startsWith(`${u}/`)) && !/^(about|data|blob):/.test(r.url())) c.strangers.push(r.url());
    };
    c.context.on('requestfinished', stranger);
    c.context.on('requestfailed', (r) => {
      if (r.failure()?.errorText !== 'csp') stranger(r);
    });
    c.context.on('response', (r) => {
      if (r.status() >= 500 && r.url().startsWith(c.world.url)) c.complaints.push(`${r.status()} ${r.url()}`);
    });
    c.context.on('weberror', (e) => c.complaints.push(String(e.error())));
    c.context.on('console', (m) => {
      if (
        m.type() === 'error' &&
        m.page()?.url().startsWith(c.world.url) &&
        !expected.test(m.text()) &&
        !/iframe|frame|sandbox|pixel\.png/i.test(m.text())
      )
        c.complaints.push(m.text());
    });
    c.page = await c.context.newPage();
    return c;
  }

  async stop() {
    for (const line of readFileSync(this.world.log, 'utf8').split('\n')) if (line.includes('defect')) console.log(line);
    await this.browser?.close();
    this.tracker?.close();
    this.process.stdin.end();
    await new Promise((resolve) => {
      if (this.process.exitCode !== null) resolve();
      else this.process.once('exit', resolve);
    });
  }

  async command(line) {
    this.process.stdin.write(`${line}\n`);
    return JSON.parse((await this.lines.next()).value);
  }
  sql = async (statement) => (await this.command(`sql ${statement.replace(/\s+/g, ' ')}`)).value;

  /** As a program with the operator's token. */
  async api(method, path, body) {
    const answer = await fetch(this.world.url + path, {
      method,
      headers: { authorization: `Bearer ${this.world.token}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  async open(path) {
    const url = `${this.world.url}/#${path}`;
    if (this.page.url() === url) await this.page.reload();
    else await this.page.goto(url);
    await this.page.locator('.boot').waitFor({ state: 'detached' });
  }

  async signIn(token) {
    await this.open('/');
    await this.page.getByLabel('Operator token or API key').fill(token);
    await this.page.getByRole('button', { name: 'Sign in' }).click();
    await this.page.getByRole('heading', { name: 'Overview' }).waitFor();
  }

  /** Nothing is being loaded any more. */
  settled = () => this.page.waitForFunction(() => !document.querySelector('.skeleton'));

  async shot(name) {
    await this.settled();
    if (pictures) await this.page.screenshot({ path: join(pictures, `${name}.png`) });
  }

  picture = (name) => (pictures ? join(pictures, `${name}.png`) : undefined);

  /** An address of ours that webhooks are sent to. */
  async receiver() {
    const hook = { status: 200, bodies: [], signatures: [], waiting: [] };
    const server = createServer((req, res) => {
      let text = '';
      req
        .on('data', (part) => {
          text += part;
        })
        .on('end', () => {
          hook.bodies.push(JSON.parse(text));
          hook.signatures.push(req.headers['webhook-signature']);
          res.writeHead(hook.status).end();
          hook.waiting = hook.waiting.filter((w) => !w());
        });
    });
    await new Promise((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    server.unref();
    hook.url = `http://127.0.0.1:${server.address().port}/hook`;
    hook.got = (fits) =>
      new Promise((resolve) => {
        const look = () => (hook.bodies.some(fits) ? (resolve(), true) : false);
        if (!look()) hook.waiting.push(look);
      });
    return hook;
  }

  /** The window that a click opens, when it shows something. */
  async popup(click) {
    const [popup] = await Promise.all([this.context.waitForEvent('page'), click()]);
    await popup.waitForURL((url) => url.href.startsWith('http'));
    return popup;
  }

  async firstLoad() {
    const page = await this.context.newPage();
    const client = await this.context.newCDPSession(page);
    await client.send('Network.enable');
    await client.send('Network.setCacheDisabled', { cacheDisabled: true });
    let bytes = 0;
    let requests = 0;
    const files = new Set();
    client.on('Network.responseReceived', (e) => {
      if (!e.response.url.includes('/v1/')) files.add(e.requestId);
    });
    client.on('Network.loadingFinished', (e) => {
      if (files.has(e.requestId)) {
        bytes += e.encodedDataLength;
        requests += 1;
      }
    });
    const started = Date.now();
    await page.goto(`${this.world.url}/`);
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    const ms = Date.now() - started;
    await page.close();
    return { bytes, requests, ms };
  }

  /** One channel in each state, which no node claims. true or a word: the button that must be there. */
  async makeStates() {
    this.states = {
      active: '',
      connecting: '',
      backfilling: '',
      throttled: '',
      backoff: '',
      needs_reauth: 'Reconnect',
      consent_pending: 'Connect',
      needs_admin: '',
      app_blocked: '',
      disabled: '',
      switching: 'Connect',
      password: '',
    };
    this.first = (await this.api('GET', `/v1/tenants/${this.tenant}/channels`)).items[0].id;
    this.zoo = (await this.api('POST', '/v1/tenants', { name: 'Zoo' })).id;
    const t = this.zoo.slice(1);
    const app = (
      await this.api('POST', `/v1/tenants/${this.zoo}/oauth-apps`, {
        name: 'Exchange of Acme',
        provider: 'microsoft',
        client_id: '11111111-2222-3333-4444-555555555555',
        client_secret: 's',
      })
    ).id;
    this.channelOf = {};
    for (const state of Object.keys(this.states)) {
      const oauth = state !== 'password';
      const made = await this.api('POST', `/v1/tenants/${this.zoo}/channels`, {
        name: `zoo ${state}`,
        address: `${state.replace('_', '.')}@zoo.test`,
        enabled: false,
        incoming: { protocol: 'imap', host: 'outlook.office365.com' },
        auth: oauth
          ? { type: 'oauth2', app, grant: 'authorization_code', ...(['consent_pending', 'switching'].includes(state) ? {} : { refresh_token: 'r' }) }
          : { type: 'basic', username: 'zoo', password: 'p' },
      });
      this.channelOf[state] = made.id;
      const n = made.id.slice(1);
      const where = `tenant_id = ${t} AND channel_id = ${n}`;
      if (oauth && !['consent_pending', 'switching'].includes(state))
        await this.sql(`UPDATE credentials SET account = 'zoo@zoo.test' WHERE ${where} RETURNING 1`);
      if (state === 'disabled') continue;
      await this.sql(`UPDATE channels SET enabled = true WHERE ${where} RETURNING 1`);
      const real = { switching: 'active', password: 'needs_reauth' }[state] ?? state;
      const reason =
        {
          throttled: 'throttled',
          backoff: 'connect_failed',
          needs_reauth: 'consent_required',
          needs_admin: 'no_mailbox_rights',
          app_blocked: 'app_misconfigured',
          password: 'login_rejected',
        }[state] ?? '';
      const detail =
        {
          throttled: 'Request is throttled. Suggested Backoff Time: 299910 milliseconds',
          backoff: 'connect to outlook.office365.com:993: network unreachable',
          needs_reauth: 'AADSTS700082: The refresh token has expired due to inactivity.',
          needs_admin: 'User is authenticated but not connected.',
          app_blocked: 'AADSTS7000222: The provided client secret keys are expired.',
          password: 'NO [AUTHENTICATIONFAILED] Authentication failed.',
        }[state] ?? '';
      await this
        .sql(`UPDATE channel_status SET state = '${real}', reason = '${reason}', detail = '${detail}', since = now() - interval '3 hours', last_success_at = now() - interval '3 hours', messages_stored = ${1000 + 37 * Number(n)},
        observed_generation = ${['consent_pending'].includes(state) ? 0 : 1}${state === 'switching' ? ", switching = 'running'" : ''}${state === 'backfilling' ? ', backfill_done = 4321, backfill_total = 12000' : ''}
        ${state === 'throttled' ? ", throttled_until = now() + interval '5 minutes'" : ''}${state === 'backoff' ? ", next_attempt_at = now() + interval '2 minutes'" : ''} WHERE ${where} RETURNING 1`);
    }
  }

  async makeMany(n) {
    this.many = (await this.api('POST', '/v1/tenants', { name: 'Many' })).id;
    const t = this.many.slice(1);
    const one = await this.api('POST', `/v1/tenants/${this.many}/channels`, {
      name: 'mailbox 0',
      address: 'm0@many.test',
      enabled: false,
      incoming: { protocol: 'imap', host: 'imap.many.test' },
      auth: { type: 'basic', username: 'm0', password: 'p' },
    });
    const from = one.id.slice(1);
    const copy = async (table, change) => {
      const columns = (
        await this.sql(
          `SELECT string_agg(quote_ident(column_name), ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '${table}'`,
        )
      ).split(',');
      await this.sql(
        `WITH made AS (INSERT INTO ${table} (${columns.join(',')}) SELECT ${columns.map((k) => (k === 'channel_id' ? '1000000 + i' : (change[k] ?? k))).join(',')} FROM ${table}, generate_series(1, ${n - 1}) AS i WHERE tenant_id = ${t} AND channel_id = ${from} RETURNING 1) SELECT count(*) FROM made`,
      );
    };
    await copy('channels', { name: "'mailbox ' || i", address: "'m' || i || '@many.test'" });
    await copy('channel_status', {
      state: "(ARRAY['active', 'active', 'active', 'active', 'backoff', 'needs_reauth', 'throttled'])[1 + i % 7]",
      messages_stored: '7 * i',
      last_success_at: "now() - i * interval '1 second'",
    });
    await copy('credentials', { username: "'m' || i" });
  }

  /** From the key to the picture that shows the answer. */
  filterTimes(words) {
    return this.page.evaluate(async (all) => {
      const input = document.querySelector('input[type=search]');
      const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
      const times = [];
      for (const word of all) {
        const before = document.querySelector('[data-shown]').dataset.shown;
        const started = performance.now();
        set.call(input, word);
        input.dispatchEvent(new Event('input', { bubbles: true }));
        await new Promise((resolve) => {
          const look = () =>
            document.querySelector('[data-shown]').dataset.shown !== before || performance.now() - started > 1000
              ? resolve()
              : requestAnimationFrame(look);
          requestAnimationFrame(look);
        });
        times.push(performance.now() - started);
      }
      return times;
    }, words);
  }
}

/** What axe-core finds serious is told by the last test. Run by the browser's debugger, which the page's policy does not concern. */
export async function accessible(c, where) {
  await c.settled();
  await c.page.evaluate(axe);
  const found = await c.page.evaluate(() => globalThis.axe.run(document, { iframes: false, resultTypes: ['violations'] }));
  for (const v of found.violations) {
    const nodes = v.nodes.slice(0, 3).map((n) => `${n.html.slice(0, 160)} ${n.failureSummary?.split('\n')[1] ?? ''}`);
    if (['serious', 'critical'].includes(v.impact)) c.unfit.push(`${where}: ${v.id}: ${nodes.join(' | ')}`);
    else console.log(`${where}: ${v.impact} ${v.id} (${v.nodes.length})`);
  }
}
