// Steps of console.test.mjs: the ways to a grant besides the provider's window: a link for the mailbox's owner, a code on another device, no person.
import assert from 'node:assert/strict';
import { accessible } from './console.mjs';

const fill = async (c, address, kind) => {
  await c.open(`/t/${c.tenant}/channels/new`);
  await c.page.getByLabel('Address').fill(address);
  await c.page.getByRole('radio', { name: kind }).check();
  await c.page.getByLabel('Server', { exact: true }).fill(c.world.host);
  await c.page.getByLabel('Port').fill(String(c.world.imaps));
  await c.page.getByLabel('Begin with').selectOption('all');
};
const active = (c) => c.page.locator('.head .badge', { hasText: 'Active' }).waitFor();

/** The mailbox's owner has a browser of their own, in which nobody is signed in to the console. */
async function ownersLink(c) {
  await fill(c, 'billing@acme.test', 'Microsoft Exchange');
  await c.page.getByRole('button', { name: 'Save without connecting' }).click();
  await c.page.getByRole('button', { name: 'Link for the owner' }).click();
  const link = await c.page.locator('.secret-once code').textContent();
  await accessible(c, 'link for the owner');
  await c.shot('owners-link');
  await c.page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).last().click();
  const theirs = await c.browser.newContext({ viewport: { width: 900, height: 700 } });
  const page = await theirs.newPage();
  await page.goto(link);
  await page.screenshot({ path: c.picture('owners-page') });
  if ((await page.getByLabel('Account').count()) === 0) await page.getByRole('button').or(page.getByRole('link')).first().click();
  await page.getByLabel('Account').fill('orders@acme.test');
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('heading', { name: 'Another account signed in' }).waitFor();
  assert.equal(await page.getByRole('button', { name: /all the same|anyway/i }).count(), 0, 'an owner cannot override whose mailbox it is');
  await page.screenshot({ path: c.picture('owners-wrong-account') });
  await page.getByRole('button', { name: 'Choose another account' }).click();
  await page.getByLabel('Account').fill('billing@acme.test');
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('heading', { name: /connected/i }).waitFor();
  await page.screenshot({ path: c.picture('owners-done') });
  await active(c);
  await page.goto(link);
  await page.getByText(/used|over/i).first().waitFor();
  await page.screenshot({ path: c.picture('owners-link-used') });
  await theirs.close();
}

async function deviceCode(c) {
  await c.open(`/t/${c.tenant}/apps/new`);
  await c.page.getByRole('radio', { name: 'Other' }).check();
  await c.page.getByRole('textbox', { name: 'Name' }).fill('House provider');
  await c.page.getByLabel('Client id').fill(c.world.client_id);
  await c.page.getByLabel('Client secret', { exact: true }).and(c.page.locator('input[type=password]')).fill(c.world.client_secret);
  await c.page.getByLabel('Issuer').fill(c.world.issuer);
  await c.page.getByLabel('Scopes').fill('openid mail offline_access');
  await c.shot('app-custom');
  await c.page.getByRole('button', { name: 'Register', exact: true }).click();
  await c.page.getByRole('link', { name: 'House provider' }).waitFor();

  await c.command('deliver orders@acme.test 1');
  await fill(c, 'orders@acme.test', 'Other (OAuth2)');
  await c.page.getByRole('radio', { name: 'A person, elsewhere' }).check();
  await c.shot('add-device');
  const windows = c.context.pages().length;
  await c.page.getByRole('button', { name: 'Connect', exact: true }).click();
  const code = await c.page.locator('.device-code').textContent();
  assert.match(code, /^[A-Z]{4}-[A-Z]{4}$/);
  assert.equal(c.context.pages().length, windows, 'no window: the person may be anywhere');
  await accessible(c, 'device code');
  await c.shot('device-code');
  await c.command(`approve ${code} orders@acme.test`);
  await c.page.locator('.notice', { hasText: 'Connected as orders@acme.test' }).waitFor();
  await c.page.getByRole('button', { name: 'Save', exact: true }).click();
  await active(c);
  await c.page.locator('.tile', { hasText: 'Messages stored' }).getByText('1', { exact: true }).waitFor();
  await c.shot('device-connected');
}

async function noPerson(c) {
  await c.api('POST', `/v1/tenants/${c.tenant}/oauth-apps`, {
    name: 'House daemon',
    provider: 'custom',
    client_id: 'daemon',
    client_secret: 'daemon-secret',
    token_url: c.world.token_url,
    authorize_url: c.world.authorize_url,
    scopes: ['mail'],
  });
  await fill(c, 'team-sales@acme.test', 'Other (OAuth2)');
  await c.page.getByLabel('OAuth app').selectOption({ label: 'House daemon' });
  await c.page.getByRole('radio', { name: 'The organisation' }).check();
  await c.page.getByLabel('Shared mailbox').fill('sales@acme.test');
  await c.page.getByRole('button', { name: 'Test connection' }).click();
  await c.page.getByText('The connection works').waitFor();
  await accessible(c, 'app-only');
  await c.shot('add-app-only');
  await c.page.getByRole('button', { name: 'Save', exact: true }).click();
  await active(c);
  await c.page.getByText('OAuth2, application').first().waitFor();
  assert.equal(await c.page.locator('.head').getByRole('button', { name: /connect$/i }).count(), 0, 'nobody has to consent');
  await c.shot('channel-app-only');
}

export const consentSteps = [
  ["the mailbox's owner consents by a link that works once, and cannot choose another mailbox", ownersLink],
  ['a code on another device connects without a window', deviceCode],
  ['an application signs in by itself', noPerson],
];
