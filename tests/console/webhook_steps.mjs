// Steps of console.test.mjs: an endpoint from its first test event to its end, against a receiver that really answers, and sometimes does not.
import assert from 'node:assert/strict';
import { accessible } from './console.mjs';

const badge = (c, text) => c.page.locator('tbody .badge', { hasText: text }).first().waitFor();
const isMail = (body) => body.type === 'message.received';
let hook;

async function add(c) {
  hook = await c.receiver();
  await c.open(`/t/${c.tenant}/webhooks`);
  await c.page.getByText('No endpoints yet').waitFor();
  await c.shot('webhooks-empty');
  await c.page.getByRole('button', { name: 'Add endpoint' }).first().click();
  await c.page.getByLabel('Address').fill(hook.url);
  await accessible(c, 'new endpoint');
  await c.shot('webhook-new');
  await c.page.getByRole('dialog').getByRole('button', { name: 'Add', exact: true }).click();
  await c.page.getByText(/whsec_/).waitFor();
  await accessible(c, 'endpoints');
  await c.shot('webhooks-secret');
  await c.page.getByRole('link', { name: hook.url }).click();
  await c.page.getByRole('button', { name: 'Send test event' }).click();
  await hook.got((body) => body.type === 'webhook.test');
  await badge(c, 'Delivered');
}

async function seeWhatWasSent(c) {
  await c.command('deliver desk@acme.test 1');
  await hook.got(isMail);
  const sent = hook.bodies.find(isMail).data.id;
  await c.page.getByRole('link', { name: sent }).waitFor();
  await accessible(c, 'endpoint');
  await c.shot('webhook');
  await c.page.getByRole('button', { name: `Show request and response of ${sent}` }).click();
  await c.page.getByRole('region', { name: 'Request' }).getByText('message.received').waitFor();
  await accessible(c, 'request and response');
  await c.shot('webhook-exchange');
  await c.page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).last().click();
}

async function fail(c) {
  hook.status = 500;
  await c.page.getByRole('button', { name: 'Send test event' }).click();
  await badge(c, /Failed|Retrying|Given up/);
  await c.command('deliver desk@acme.test 1');
  await c.page.getByText('The endpoint fails').waitFor();
  await accessible(c, 'endpoint that fails');
  await c.shot('webhook-failing');
  hook.status = 200;
}

/** What was given up three days ago is sent once more, and taken. */
async function retry(c) {
  const dead = await c.sql(
    `WITH gone AS (UPDATE webhook_deliveries SET state = 'dead' WHERE delivery_id = (SELECT max(delivery_id) FROM webhook_deliveries WHERE kind = 'message' AND state = 'delivered') RETURNING delivery_id) SELECT delivery_id FROM gone`,
  );
  assert.ok(Number(dead) > 0);
  await c.page.getByRole('button', { name: 'Given up' }).click();
  const before = hook.bodies.filter(isMail).length;
  await c.page.getByRole('button', { name: /^Retry m/ }).first().click();
  await hook.got(() => hook.bodies.filter(isMail).length > before);
  await c.page.getByText('Nothing to show').waitFor();
  await c.page.getByRole('button', { name: 'All', exact: true }).click();
}

async function replay(c) {
  const seen = hook.bodies.filter(isMail).length;
  await c.page.getByRole('button', { name: 'Replay' }).click();
  await c.page.getByRole('radio', { name: 'From a position' }).check();
  await accessible(c, 'replay');
  await c.shot('webhook-replay');
  await c.page.getByRole('dialog').getByRole('button', { name: 'Replay', exact: true }).click();
  const first = (await c.api('GET', `/v1/tenants/${c.tenant}/messages?after=0&limit=1`)).items[0].id;
  await hook.got(() => hook.bodies.slice(seen).some((body) => isMail(body) && body.data.id === first));
}

async function newSecret(c) {
  await c.page.getByRole('button', { name: 'New signing secret' }).click();
  await c.page.getByRole('button', { name: 'Make a new one' }).click();
  await c.page.getByText(/whsec_/).waitFor();
  await c.page.getByText('Earlier secret').waitFor();
  const signed = hook.signatures.length;
  await c.page.getByRole('button', { name: 'Send test event' }).click();
  await hook.got(() => hook.signatures.slice(signed).some((s) => s.split(' ').length === 2));
  await c.shot('webhook-secret');
}

/** Bounds that the node refuses are explained where they were typed; good ones hold. */
async function bounds(c) {
  await c.page.getByRole('button', { name: 'Edit', exact: true }).click();
  const dialog = c.page.getByRole('dialog');
  await dialog.getByLabel('Requests at once').fill('1000');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText(/Requests at once .*64/).waitFor();
  await accessible(c, 'endpoint with a bound that is refused');
  await c.shot('webhook-edit');
  const channel = (await c.api('GET', `/v1/tenants/${c.tenant}/channels?limit=1`)).items[0].id;
  await dialog.getByLabel('Requests at once').fill('3');
  await dialog.getByLabel('Requests a second, at most').fill('20');
  await dialog.getByLabel('Channels').fill(channel);
  await dialog.getByLabel('What is sent of a message').selectOption('raw');
  await dialog.getByLabel('Raw message up to, in bytes').fill('2048');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await c.page.getByText('3 requests, 20 a second').waitFor();
  const id = c.page.url().split('/').pop();
  const now = await c.api('GET', `/v1/tenants/${c.tenant}/webhooks/${id}`);
  assert.deepEqual([now.channels, now.body, now.raw_bytes, now.max_in_flight, now.max_per_second], [[channel], 'raw', 2048, 3, 20]);
}

async function end(c) {
  await c.page.getByRole('button', { name: 'Disable', exact: true }).click();
  await c.page.locator('.head .badge', { hasText: 'Disabled' }).waitFor();
  await c.page.getByRole('button', { name: 'Delete', exact: true }).click();
  await c.page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await c.page.getByText('No endpoints yet').waitFor();
}

export const webhookSteps = [
  ['an endpoint is added with its secret and gets a test event', add],
  ['mail is told to it, and what was sent and answered can be seen', seeWhatWasSent],
  ['an endpoint that fails says so', fail],
  ['what was given up is tried again', retry],
  ['a replay sends everything once more', replay],
  ['a new secret signs beside the old one', newSecret],
  ['an endpoint is bounded, and told of one channel', bounds],
  ['an endpoint is disabled and deleted', end],
];
