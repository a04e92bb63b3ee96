// The console as people use it. Each step leaves a picture (CONSOLE_SCREENSHOTS); nothing sleeps: every step waits for what it wants to see.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { consentSteps } from './consent_steps.mjs';
import { accessible, Console } from './console.mjs';
import { webhookSteps } from './webhook_steps.mjs';

let c;
before(
  async () => {
    c = await Console.start();
  },
  { timeout: 180_000 },
);
after(async () => {
  await c?.stop();
});
// Each step stands on those before it: after a failure the rest says so at once, with a picture of what was there.
let broken = '';
const t = (name, body) =>
  test(name, { timeout: 90_000 }, async () => {
    assert.equal(broken, '', 'an earlier step failed');
    try {
      await body();
    } catch (error) {
      broken = name;
      await c.shot('failed').catch(() => {});
      throw error;
    }
  });

t('a stranger sees nothing, and a wrong token is refused', async () => {
  await c.open('/');
  await c.page.getByRole('heading', { name: 'Mailherd' }).waitFor();
  await accessible(c, 'sign-in');
  await c.shot('sign-in');
  await c.page.getByLabel('Operator token or API key').fill('mhk_wrong');
  await c.page.getByRole('button', { name: 'Sign in' }).click();
  await c.page.getByRole('alert').filter({ hasText: 'neither an operator token' }).waitFor();
  await c.shot('sign-in-wrong');
});

t('an operator signs in; the token is nowhere in the page', async () => {
  const started = Date.now();
  await c.signIn(c.world.token);
  assert.ok(Date.now() - started < 10_000);
  assert.equal(await c.page.evaluate(() => document.cookie), '', 'the cookie is not for programs');
  assert.ok(!(await c.page.content()).includes(c.world.token));
  await c.page.getByRole('heading', { name: 'No tenants yet' }).waitFor();
  await c.shot('overview-empty');
});

t('the first load is small and soon there', async () => {
  const sizes = await c.firstLoad();
  console.log(`first load: ${sizes.bytes} bytes compressed in ${sizes.requests} requests, usable after ${sizes.ms} ms`);
  assert.ok(sizes.bytes < 150_000, `${sizes.bytes} bytes`);
  assert.ok(sizes.ms < 3_000, `${sizes.ms} ms`); // told exactly above; the machine may be busy with other tests
});

t('a tenant and a channel by password: tested before it is saved, then served', async () => {
  await c.page.getByRole('link', { name: 'Create the first tenant' }).click();
  await c.page.getByRole('button', { name: 'Create tenant' }).first().click();
  await c.page.getByLabel('Name', { exact: true }).fill('Acme');
  await c.shot('tenant-new');
  await c.page.getByRole('button', { name: 'Create', exact: true }).click();
  await c.page.getByRole('heading', { name: 'No channels yet' }).waitFor();
  c.tenant = await c.page.evaluate(() => location.hash.split('/')[2]);
  await c.shot('channels-empty');

  await c.command('deliver desk@acme.test 3');
  await c.page.getByRole('link', { name: 'Add channel' }).first().click();
  await c.page.getByLabel('Address').fill('desk@acme.test');
  await c.page.getByRole('textbox', { name: 'User name' }).fill('desk@acme.test');
  await c.page.locator('input[type=password]').fill('wrong');
  await c.page.getByLabel('Server', { exact: true }).fill(c.world.host);
  await c.page.getByLabel('Port').fill(String(c.world.imaps));
  await c.page.getByLabel('Begin with').selectOption('all');
  await c.page.getByRole('button', { name: 'Test connection' }).click();
  await c.page.getByText('It stops at: Sign in').waitFor();
  await c.shot('add-test-failed');
  await c.page.locator('input[type=password]').fill(c.world.password);
  await c.page.getByRole('button', { name: 'Test connection' }).click();
  await c.page.getByText('The connection works').waitFor();
  await c.page.getByText('3 messages', { exact: true }).waitFor();
  await accessible(c, 'add channel');
  await c.shot('add-test-good');
  await c.page.getByRole('button', { name: 'Save', exact: true }).click();
  await c.page.getByRole('heading', { name: 'desk@acme.test' }).waitFor();
  await c.page.locator('.head .badge', { hasText: 'Active' }).waitFor();
  await c.page.locator('.tile', { hasText: 'Messages stored' }).getByText('3', { exact: true }).waitFor();
  await accessible(c, 'channel');
  await c.shot('channel-active');
});

t('a saved channel is tested in a moment', async () => {
  const [channel] = (await c.api('GET', `/v1/tenants/${c.tenant}/channels`)).items;
  const times = [];
  for (let i = 0; i < 11; ++i) {
    const began = performance.now();
    const report = await c.api('POST', `/v1/tenants/${c.tenant}/channels/${channel.id}/test`);
    assert.ok(report.ok, JSON.stringify(report));
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  console.log(`test connection: median ${times[5].toFixed(0)} ms, longest ${times[10].toFixed(0)} ms of 11`);
  assert.ok(times[5] < 1_500, `${times}`); // to reach: 150 ms; told exactly above, for a build without sanitizers
});

t('news arrive by themselves: a message shows without a reload', async () => {
  await c.command(`deliver desk@acme.test 1 http://127.0.0.1:${c.tracker.address().port}/pixel.png`);
  await c.page.locator('.tile', { hasText: 'Messages stored' }).getByText('4', { exact: true }).waitFor();
  await c.page.getByText('Where is parcel 1004?').first().waitFor();
});

t('a message is shown safely and given out raw', async () => {
  await c.page.getByText('Where is parcel 1004?').first().click();
  const frame = c.page.frameLocator('iframe');
  await frame.getByText('It should have been here on').waitFor();
  assert.equal(await c.page.evaluate(() => window.hacked), undefined);
  assert.equal(await c.page.title(), 'Where is parcel 1004? · Mailherd');
  assert.deepEqual(c.strangers, [], 'nothing was asked of another host');
  await c.page.getByText('invoice.pdf').waitFor();
  await accessible(c, 'message');
  await c.shot('message');
  const [file] = await Promise.all([c.page.waitForEvent('download'), c.page.getByRole('link', { name: 'Download raw' }).click()]);
  assert.match(file.suggestedFilename(), /\.eml$/);
  await c.page.getByRole('tab', { name: 'Headers' }).click();
  await c.page.getByText('<4-desk@acme.test@console.test>').waitFor();
  await c.shot('message-headers');
  await c.open(`/t/${c.tenant}/messages`);
  await c.page.getByText('Where is parcel 1001?').waitFor();
  await accessible(c, 'messages');
  await c.shot('messages');
});

t('a switch with a wrong password fails in words, and the old one serves on', async () => {
  await c.open(`/t/${c.tenant}/channels`);
  await c.page.getByRole('link', { name: 'desk@acme.test' }).click();
  await c.page.getByRole('button', { name: 'Switch', exact: true }).click();
  await c.page.locator('input[type=password]').fill('wrong');
  await accessible(c, 'switch');
  await c.shot('switch-dialog');
  await c.page.getByRole('dialog').getByRole('button', { name: 'Switch', exact: true }).click();
  await c.page.getByText('The new sign-in did not take over').waitFor();
  await c.page.locator('.head .badge', { hasText: 'Active' }).waitFor();
  await c.shot('switch-failed');
});

t('an administrator adds Microsoft Exchange: connect, consent, the account shown, save, test', async () => {
  await c.open(`/t/${c.tenant}/channels/new`);
  await c.page.getByRole('radio', { name: 'Microsoft Exchange' }).check();
  await c.page.getByText('There is no OAuth app for this provider yet').waitFor();
  await c.shot('add-without-app');
  await c.page.getByRole('link', { name: 'Register an OAuth app' }).click();
  await c.page.getByRole('textbox', { name: 'Name' }).fill('Exchange of Acme');
  await c.page.getByLabel('Client id').fill(c.world.client_id);
  await c.page.getByLabel('Directory').fill(c.world.authority);
  await c.page.getByLabel('Client secret', { exact: true }).and(c.page.locator('input[type=password]')).fill(c.world.client_secret);
  await c.page.getByLabel('Its last day').fill(new Date(Date.now() + 9 * 86400_000).toISOString().slice(0, 10));
  await c.page.getByRole('button', { name: 'Register', exact: true }).click();
  await c.page.getByText('The secret of Exchange of Acme ends in').waitFor();
  await accessible(c, 'apps');
  await c.shot('apps');

  await c.command('deliver support@acme.test 2');
  await c.open(`/t/${c.tenant}/channels/new`);
  await c.page.getByLabel('Address').fill('support@acme.test');
  await c.page.getByRole('radio', { name: 'Microsoft Exchange' }).check();
  assert.equal(await c.page.getByLabel('Server', { exact: true }).inputValue(), 'outlook.office365.com');
  await c.page.getByLabel('Server', { exact: true }).fill(c.world.host);
  await c.page.getByLabel('Port').fill(String(c.world.imaps));
  await c.page.getByLabel('Begin with').selectOption('all');
  const popup = await c.popup(() => c.page.getByRole('button', { name: 'Connect', exact: true }).click());
  assert.equal(await popup.getByLabel('Account').inputValue(), 'support@acme.test', 'the account is hinted at');
  await c.page.getByText('Waiting for consent').waitFor();
  await c.shot('connect-waiting');
  await popup.getByRole('button', { name: 'Allow' }).click();
  await c.page.locator('.notice', { hasText: 'Connected as support@acme.test' }).waitFor();
  if (!popup.isClosed()) await popup.waitForEvent('close', { timeout: 5000 });
  await c.shot('connected');
  await c.page.getByRole('button', { name: 'Save', exact: true }).click();
  await c.page.getByRole('heading', { name: 'support@acme.test' }).waitFor();
  await c.page.locator('.head .badge', { hasText: 'Active' }).waitFor();
  await c.page.getByRole('button', { name: 'Test connection' }).click();
  await c.page.getByText('The connection works').waitFor();
  await c.page.getByText('2 messages', { exact: true }).waitFor();
  await c.page.getByText('Get an access token').waitFor();
  c.exchange = await c.page.evaluate(() => location.hash.split('/').at(-1));
  await accessible(c, 'channel by OAuth2');
  await c.shot('channel-tested');
});

t('a password gives way to OAuth2 and comes back while mail arrives', async () => {
  await c.open(`/t/${c.tenant}/channels`);
  await c.page.getByRole('link', { name: 'desk@acme.test' }).click();
  await c.page.getByRole('button', { name: 'Switch', exact: true }).click();
  await c.page.getByRole('dialog').getByRole('radio', { name: 'Microsoft Exchange' }).check();
  await c.shot('switch-to-oauth2');
  const popup = await c.popup(() => c.page.getByRole('button', { name: 'Connect and switch' }).click());
  await popup.getByLabel('Account').waitFor();
  await c.command('deliver desk@acme.test 1');
  await c.page.locator('.tile', { hasText: 'Messages stored' }).getByText('5', { exact: true }).waitFor();
  await c.shot('switch-waiting');
  await popup.getByRole('button', { name: 'Allow' }).click();
  await c.page
    .locator('.facts', { hasText: 'OAuth2 · Microsoft' })
    .getByText(/number \d+, serving/)
    .waitFor();
  await c.page.getByRole('button', { name: 'Roll back' }).click();
  await c.page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click();
  await c.page
    .locator('.facts', { hasText: 'Password' })
    .getByText(/number \d+, serving/)
    .waitFor();
  await c.command('deliver desk@acme.test 1');
  await c.page.locator('.tile', { hasText: 'Messages stored' }).getByText('6', { exact: true }).waitFor();
  await c.shot('rolled-back');
});

t('another account, and a person who declines: both told, nothing changed', async () => {
  const app = (await c.api('GET', `/v1/tenants/${c.tenant}/oauth-apps`)).items[0].id;
  const made = await c.api('POST', `/v1/tenants/${c.tenant}/channels`, {
    name: 'Sales',
    address: 'sales@acme.test',
    incoming: { protocol: 'imap', host: c.world.host, port: c.world.imaps },
    auth: { type: 'oauth2', app, grant: 'authorization_code' },
  });
  await c.open(`/t/${c.tenant}/channels/${made.id}`);
  let popup = await c.popup(() => c.page.locator('.head').getByRole('button', { name: 'Connect', exact: true }).click());
  await popup.getByRole('button', { name: 'Cancel' }).click();
  await popup.getByRole('heading', { name: 'Access was not granted' }).waitFor();
  await c.page.getByText('Nothing was changed yet').waitFor();
  await c.shot('consent-declined');
  await popup.screenshot({ path: c.picture('consent-declined-window') });
  await popup.close();
  await c.page.getByText('Nothing was changed', { exact: true }).waitFor();

  popup = await c.popup(() => c.page.locator('.head').getByRole('button', { name: 'Connect', exact: true }).click());
  await popup.getByLabel('Account').fill('orders@acme.test');
  await popup.getByRole('button', { name: 'Allow' }).click();
  await popup.getByRole('heading', { name: 'Another account signed in' }).waitFor();
  await c.page.getByText('Nothing was changed yet').waitFor();
  await popup.screenshot({ path: c.picture('wrong-account-window') });
  assert.ok((await popup.content()).includes('sales@acme.test') && (await popup.content()).includes('orders@acme.test'));
  await c.shot('wrong-account');
  await c.page.locator('.head .badge', { hasText: 'Not connected' }).waitFor();
  await popup.getByRole('button', { name: 'Choose another account' }).click();
  await popup.getByLabel('Account').fill('sales@acme.test');
  await popup.getByRole('button', { name: 'Allow' }).click();
  await c.page.locator('.notice', { hasText: 'Connected as sales@acme.test' }).waitFor();
  await c.page.locator('.head .badge', { hasText: 'Active' }).waitFor();
});

t('a grant that is revoked asks for a person, and Reconnect mends it', async () => {
  await c.command('revoke support@acme.test');
  await c.open(`/t/${c.tenant}/channels/${c.exchange}`);
  // What the provider has forgotten is noticed when the next token is fetched: now, for a new session.
  await c.api('PATCH', `/v1/tenants/${c.tenant}/channels/${c.exchange}`, { enabled: false });
  await c.page.locator('.head .badge', { hasText: 'Disabled' }).waitFor();
  await c.api('PATCH', `/v1/tenants/${c.tenant}/channels/${c.exchange}`, { enabled: true });
  await c.page.locator('.head .badge', { hasText: 'Sign-in needed' }).waitFor();
  await c.shot('revoked');
  const popup = await c.popup(() => c.page.locator('.head').getByRole('button', { name: 'Reconnect' }).click());
  await popup.getByRole('button', { name: 'Allow' }).click();
  await c.page.locator('.head .badge', { hasText: 'Active' }).waitFor();
  assert.equal(await c.page.locator('.head').getByRole('button', { name: 'Reconnect' }).count(), 0);
});

for (const [name, step] of [...consentSteps, ...webhookSteps]) t(name, () => step(c));

t('every state has a page that says what to do', async () => {
  await c.makeStates();
  await c.open('/');
  await c.page.getByText('Needs a person').first().waitFor();
  await accessible(c, 'overview');
  await c.shot('overview');
  await c.open(`/t/${c.zoo}/channels`);
  await c.page.getByText('Sign-in needed').first().waitFor();
  await accessible(c, 'channels');
  await c.shot('channels');
  for (const [state, reconnect] of Object.entries(c.states)) {
    await c.open(`/t/${c.zoo}/channels/${c.channelOf[state]}`);
    await c.page.getByRole('button', { name: 'Test connection' }).waitFor();
    const buttons = await c.page
      .locator('.head')
      .getByRole('button', { name: /^(Re)?connect$/i })
      .allTextContents();
    assert.deepEqual(buttons, reconnect ? [reconnect] : [], `${state}: Reconnect exactly when the token is bad`);
    await c.page.getByText('What happened').waitFor();
    await c.shot(`state-${state}`);
  }
  await accessible(c, 'channel that is blocked');
});

t('5,000 channels are filtered within 100 ms', async () => {
  await c.makeMany(5000);
  await c.open(`/t/${c.many}/channels`);
  await c.page.getByText('5,000 channels shown').waitFor({ timeout: 60_000 });
  await c.shot('channels-5000');
  const times = await c.filterTimes(['mailbox 4', 'mailbox 42', 'm19', '', 'mailbox 1999', 'many.test']);
  console.log(`filter of 5,000 channels: ${times.map((ms) => `${ms.toFixed(0)} ms`).join(', ')}`);
  const sorted = [...times].sort((a, b) => a - b);
  assert.ok(sorted[Math.floor(sorted.length / 2)] < 100, `median ${sorted}`);
  assert.ok((await c.page.locator('[role=row]').count()) < 60, 'only rows in sight exist');
});

t('the other pages', async () => {
  for (const [name, at, heading] of [
    ['cluster', '/cluster', 'Cluster'],
    ['tenants', '/tenants', 'Tenants'],
    ['apps-empty', `/t/${c.tenant}/apps`, 'OAuth apps'],
    ['app-new', `/t/${c.tenant}/apps/new`, 'Register OAuth app'],
    ['webhooks', `/t/${c.tenant}/webhooks`, 'Webhooks'],
    ['tenant', `/t/${c.tenant}`, 'Acme'],
    ['nowhere', '/nowhere', 'There is no such page'],
  ]) {
    await c.open(at);
    await c.page.getByRole('heading', { name: heading, exact: true }).waitFor();
    await c.settled();
    await accessible(c, name);
    await c.shot(name);
  }
});

t('dark, and on a phone', async () => {
  await c.open('/');
  await c.page.getByRole('button', { name: 'Dark colours' }).click();
  for (const [name, at] of [
    ['overview', '/'],
    ['channels', `/t/${c.zoo}/channels`],
    ['channel', `/t/${c.zoo}/channels/${c.channelOf.needs_reauth}`],
    ['channel-active', `/t/${c.tenant}/channels/${c.first}`],
    ['add', `/t/${c.tenant}/channels/new`],
    ['messages', `/t/${c.tenant}/messages`],
    ['tenant', `/t/${c.tenant}`],
  ]) {
    await c.open(at);
    await c.settled();
    await accessible(c, `${name}, dark`);
    await c.shot(`dark-${name}`);
  }
  await c.page.getByRole('button', { name: 'Light colours' }).click();
  await c.page.setViewportSize({ width: 390, height: 844 });
  for (const [name, at] of [
    ['overview', '/'],
    ['channels', `/t/${c.zoo}/channels`],
    ['channel', `/t/${c.zoo}/channels/${c.channelOf.needs_reauth}`],
    ['add', `/t/${c.tenant}/channels/new`],
    ['messages', `/t/${c.tenant}/messages`],
  ]) {
    await c.open(at);
    await c.settled();
    assert.ok(await c.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} is wider than a phone`);
    await accessible(c, `${name}, phone`);
    await c.shot(`phone-${name}`);
  }
  await c.page.getByRole('button', { name: 'Menu', exact: true }).click();
  await c.page.getByRole('link', { name: 'Tenants' }).waitFor();
  await c.shot('phone-menu');
  await c.page.setViewportSize({ width: 1280, height: 860 });
});

t('by keyboard alone: search, open, back', async () => {
  await c.open(`/t/${c.zoo}/channels`);
  await c.page.getByLabel('Search channels').focus();
  await c.page.keyboard.type('throttled');
  await c.page.getByText('1 channel shown').waitFor();
  for (let i = 0; i < 30; i += 1) {
    await c.page.keyboard.press('Tab');
    if (await c.page.evaluate(() => document.activeElement?.classList.contains('name'))) break;
  }
  await c.page.keyboard.press('Enter');
  await c.page.getByRole('heading', { name: 'zoo throttled' }).waitFor();
});

t("a tenant's key sees its tenant only; signed out, the cookie opens nothing", async () => {
  const key = await c.api('POST', `/v1/tenants/${c.tenant}/api-keys`, { name: 'console' });
  await c.page.getByRole('button', { name: 'Sign out' }).click();
  await c.page.getByLabel('Operator token or API key').waitFor();
  await c.signIn(key.key);
  assert.equal(await c.page.getByRole('link', { name: 'Cluster' }).count(), 0);
  await c.open(`/t/${c.zoo}/channels`);
  await c.page.getByText('There is no such object').first().waitFor();
  await c.open('/');
  await c.page.locator('.tile', { hasText: 'Channels' }).first().waitFor();
  await c.shot('overview-tenant');
  const cookies = await c.context.cookies();
  const own = cookies.find((k) => k.name === 'mailherd');
  assert.ok(own.httpOnly && own.sameSite === 'Strict');
  await c.api('DELETE', `/v1/tenants/${c.tenant}/api-keys/${key.id}`);
  await c.open(`/t/${c.tenant}/channels`);
  await c.page.getByLabel('Operator token or API key').waitFor({ timeout: 20_000 });
});

t('nothing went wrong behind the pages, and everybody can use them', async () => {
  assert.deepEqual(c.unfit, []);
  assert.deepEqual(c.complaints, []);
  assert.deepEqual(c.strangers, []);
});
