// The hostile corpus (tests/corpus/hostile_html.hpp) as mail, in a real browser with canaries: what the API gives as `html_safe`, put into a page of somebody
// else's, and what the console's frame shows. Whatever runs, leaves, navigates, asks or covers what is around it is noticed. The same canaries see
// the documents as they were sent, and must sing: otherwise their silence would mean nothing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Console } from './console.mjs';

let c;
let tenant;
let messages;
before(
  async () => {
    c = await Console.start();
    tenant = (await c.api('POST', '/v1/tenants', { name: 'Acme' })).id;
    const { count } = await c.command(`hostile ${c.world.addresses[0]}`);
    await c.api('POST', `/v1/tenants/${tenant}/channels`, {
      name: 'Support',
      address: c.world.addresses[0],
      incoming: { protocol: 'imap', host: c.world.host, port: c.world.imaps },
      auth: { type: 'basic', username: c.world.addresses[0], password: c.world.password },
      start_from: 'all',
    });
    const ids = [];
    for (let next = '0'; ids.length < count; ) {
      const page = await c.api('GET', `/v1/tenants/${tenant}/messages?limit=1000&wait=30&after=${next}`);
      ids.push(...page.items.map((m) => m.id));
      next = page.next;
    }
    messages = await Promise.all(ids.map((id) => c.api('GET', `/v1/tenants/${tenant}/messages/${id}`)));
  },
  { timeout: 240_000 },
);
after(async () => {
  await c?.stop();
});

// A page as a helpdesk might have it: mail in a box of its own that clips, something above and below. It has no policy of its own: nothing but the
// sanitiser stands between the mail and the page.
const around = (mail) => `<!doctype html><meta charset="utf-8"><title>desk</title><style>p { font: 16px/20px sans-serif; color: black; margin: 0 }
#mail { width: 600px; height: 200px; overflow: auto }</style>
<p id="above">above</p><div id="mail">${mail}</div><p id="below">below</p>`;

// In the page: everything that would act on an event gets one, then what is around the mail is looked at.
async function provoke() {
  const found = [];
  const mail = document.querySelector('#mail');
  for (const e of document.querySelectorAll('#mail *, #below ~ *')) {
    for (const a of e.attributes) {
      if (/^on/i.test(a.name)) found.push(`handler ${a.name}`);
      if (/^\s*(javascript|vbscript|data:text)/i.test(a.value)) found.push(`address ${a.value}`);
    }
    if (/^(script|style|iframe|frame|object|embed|form|input|button|link|meta|base|svg|math|template|dialog|portal)$/i.test(e.localName)) found.push(`element ${e.localName}`);
    for (const name of ['mouseover', 'focus', 'toggle', 'error', 'load', 'animationstart', 'start', 'begin']) e.dispatchEvent(new Event(name));
    if (e.localName !== 'a' || !/^(https?|mailto|tel):/i.test(e.href)) e.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
    else if (e.target !== '_blank' || !/noopener/.test(e.rel)) found.push('a link without noopener');
  }
  for (const id of ['above', 'below']) {
    const p = document.getElementById(id);
    const box = p?.getBoundingClientRect();
    const style = p && getComputedStyle(p);
    if (p?.parentElement !== document.body) found.push(`${id} was swallowed`);
    else if (style.color !== 'rgb(0, 0, 0)' || style.display !== 'block' || box.height !== 20) found.push(`${id} looks different`);
    else if (document.elementFromPoint(box.x + 5, box.y + 5) !== p) found.push(`${id} is covered`);
  }
  if (mail?.nextElementSibling?.id !== 'below') found.push('something escaped its box');
  if (document.title !== 'desk') found.push('another title');
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  return found;
}

/** What the canaries saw of these documents, a list for each. `parsed`: the document is part of the page's source; otherwise the page's script puts it in. */
async function watch(documents, parsed) {
  const context = await c.browser.newContext({ viewport: { width: 1000, height: 600 } });
  let seen = [];
  let page;
  const address = 'http://desk.test/';
  await context.route('**/*', (route) => {
    const request = route.request();
    if (request.url() === address && request.isNavigationRequest() && !page.away)
      return route.fulfill({ contentType: 'text/html; charset=utf-8', body: around(parsed ? page.mail : '') });
    if (request.url() !== `${address}favicon.ico`) seen.push(`${request.isNavigationRequest() ? 'navigation' : 'request'} ${request.url()}`);
    return route.abort();
  });
  const open = async () => {
    page = await context.newPage();
    page.on('dialog', (d) => {
      seen.push(`ran: ${d.message()}`);
      d.dismiss().catch(() => {});
    });
    page.on('popup', (p) => {
      seen.push('popup');
      p.close().catch(() => {});
    });
  };
  await open();
  const all = [];
  for (const mail of documents) {
    seen = [];
    page.mail = mail;
    page.away = false;
    try {
      await page.goto(address);
      page.away = true; // from here on whoever goes anywhere was sent there
      if (!parsed)
        await page.evaluate((html) => {
          document.querySelector('#mail').innerHTML = html;
        }, mail);
      seen.push(...(await page.evaluate(provoke)));
    } catch (error) {
      seen.push(`navigation: ${String(error.message).split('\n')[0]}`);
      await page.close();
      await open();
    }
    all.push(seen);
  }
  await context.close();
  return all;
}

const told = (all, documents) => all.map((seen, i) => [documents[i], seen]).filter(([, seen]) => seen.length > 0);

test('as they were sent, they run, ask, navigate and cover: the canaries are alive', { timeout: 120_000 }, async () => {
  const seen = await watch(
    messages.map((m) => m.html ?? ''),
    true,
  );
  const flat = seen.flat();
  for (const kind of [/^ran/, /^request/, /^navigation/, /^handler/, /^address/, /covered/, /looks different/, /swallowed|escaped/])
    assert.ok(flat.some((s) => kind.test(s)), `nothing like ${kind}`);
  assert.ok(seen.filter((s) => s.length > 0).length > (2 * messages.length) / 3, 'most of them bite');
});

for (const parsed of [true, false])
  test(`html_safe does nothing in a page that ${parsed ? 'is written around it' : 'puts it in by script'}`, { timeout: 120_000 }, async () => {
    const documents = messages.map((m) => m.html_safe ?? '');
    assert.ok(documents.some((d) => d.includes('<')), 'something is left of them');
    assert.deepEqual(told(await watch(documents, parsed), documents), []);
  });

test("the console's frame shows them, and nothing comes out of it", { timeout: 120_000 }, async () => {
  await c.signIn(c.world.token);
  const seen = [];
  c.page.on('dialog', (d) => {
    seen.push(`ran: ${d.message()}`);
    d.dismiss().catch(() => {});
  });
  c.context.on('page', (p) => seen.push(`popup ${p.url()}`));
  const shown = messages.filter((m) => m.html);
  await c.open(`/t/${tenant}/messages/${shown[0].id}`);
  await c.page.locator('iframe.mail-frame').waitFor();
  const before = c.page.url();
  const title = await c.page.title();
  // The console's own frame, once for each of them.
  const boxes = await c.page.evaluate(async (urls) => {
    const first = document.querySelector('iframe.mail-frame');
    const loaded = urls.map(
      (url) =>
        new Promise((resolve) => {
          const frame = first.cloneNode();
          frame.addEventListener('load', () => resolve(frame), { once: true });
          frame.src = url;
          first.after(frame);
        }),
    );
    const frames = await Promise.all(loaded);
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return frames.map((f) => ({ src: f.getAttribute('src'), open: f.contentDocument !== null }));
  }, shown.map((m) => `/v1/tenants/${tenant}/messages/${m.id}/html`));
  assert.ok(boxes.every((b) => !b.open), 'the page cannot look into it, nor it into the page');
  const urls = c.page.frames().map((f) => f.url());
  for (const b of boxes) assert.ok(urls.includes(c.world.url + b.src), `${b.src} is where it was`);
  assert.equal(c.page.url(), before);
  assert.equal(await c.page.title(), title);
  assert.equal(await c.page.evaluate(() => document.querySelectorAll('script:not([src])').length), 0);
  // And some opened by themselves, as somebody might who copies a frame's address: the policy is the answer's, not the frame's.
  for (const b of boxes.filter((_, i) => i % 8 === 0)) {
    await c.page.goto(c.world.url + b.src);
    assert.equal(c.page.url(), c.world.url + b.src);
  }
  assert.deepEqual(seen, []);
  assert.deepEqual(c.strangers, [], 'nothing was asked of another host');
});
