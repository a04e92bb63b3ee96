// Baseline of the benchmarks: imapflow, the IMAP client most Node programs use.
//
//   node bench.mjs drain --port P --ca FILE [--mailboxes 1] [--parallel 4]
//     Fetches every message of user0 … userN-1 and discards it. Prints the measurement.
//   node --expose-gc bench.mjs idle --port P --ca FILE --mailboxes 1000 [--parallel 20]
//     One session in IDLE per mailbox. Prints {"ready": sessions}, then {"user", "at"} for each arrival (at: milliseconds since the epoch), and the
//     measurement when it gets SIGTERM.
// The measurement: {"name", "messages", "seconds", "cpu_seconds", "peak_rss_mb", …} of this process.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ImapFlow } from 'imapflow';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string' }, ca: { type: 'string' }, host: { type: 'string', default: 'localhost' },
    mailboxes: { type: 'string', default: '1' }, parallel: { type: 'string' },
  },
});
const mode = positionals[0];
const mailboxes = Number(values.mailboxes);
const parallel = Number(values.parallel ?? (mode === 'idle' ? 20 : 4));
const ca = values.ca ? readFileSync(values.ca) : undefined;
const user = (mailbox) => `user${mailbox}@acme.test`;

function connection(mailbox) {
  return new ImapFlow({
    host: values.host, port: Number(values.port), secure: true, auth: { user: user(mailbox), pass: 'pw' },
    tls: ca ? { ca } : { rejectUnauthorized: false }, logger: false, disableAutoIdle: mode === 'drain',
  });
}

const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };
const now = () => performance.timeOrigin + performance.now();
const started = now();
const cpuBefore = cpu();

function measurement(name, messages, more = {}) {
  return JSON.stringify({
    name, messages, seconds: (now() - started) / 1000, cpu_seconds: cpu() - cpuBefore,
    peak_rss_mb: (process.resourceUsage().maxRSS * 1024) / 1e6, ...more,
  });
}

/** Runs `each` for every mailbox, `parallel` at a time. */
async function forAll(each) {
  let next = 0;
  const work = async () => { while (next < mailboxes) { const mine = next; next += 1; await each(mine); } };
  await Promise.all(Array.from({ length: Math.min(parallel, mailboxes) }, work));
}

async function drain() {
  let messages = 0;
  let bytes = 0;
  await forAll(async (mailbox) => {
    const client = connection(mailbox);
    await client.connect();
    const box = await client.mailboxOpen('INBOX', { readOnly: true });
    let here = 0;
    if (box.exists > 0) {
      for await (const message of client.fetch('1:*', { uid: true, source: true })) {
        here += 1;
        bytes += message.source.length;
      }
    }
    if (here !== box.exists) throw new Error(`${here} of ${box.exists} messages came`);
    messages += here;
    await client.logout();
  });
  console.log(measurement('imapflow', messages, { bytes }));
}

async function idle() {
  const clients = [];
  let arrivals = 0;
  globalThis.gc?.();
  const rssBefore = process.memoryUsage.rss();
  await forAll(async (mailbox) => {
    const client = connection(mailbox);
    clients.push(client);
    client.on('exists', () => {
      arrivals += 1;
      process.stdout.write(`${JSON.stringify({ user: user(mailbox), at: now() })}\n`);
    });
    client.on('error', (error) => { console.error(error); process.exit(1); });
    await client.connect();
    await client.mailboxOpen('INBOX');
    client.idle().catch((error) => { console.error(error); process.exit(1); });
  });
  while (!clients.every((client) => client.idling)) await new Promise((resolve) => { setTimeout(resolve, 20); });
  globalThis.gc?.();
  const opened = { sessions: mailboxes, open_seconds: (now() - started) / 1000, open_cpu_ms: ((cpu() - cpuBefore) * 1000) / mailboxes };
  const kb = (process.memoryUsage.rss() - rssBefore) / 1000 / mailboxes;
  const cpuOpened = cpu();
  process.on('SIGTERM', () => {
    console.log(measurement('imapflow, idle', arrivals, { ...opened, kb_per_session: kb, idle_cpu_seconds: cpu() - cpuOpened }));
    process.exit(0);
  });
  console.log(JSON.stringify({ ready: mailboxes }));
}

if (mode === 'drain') await drain();
else if (mode === 'idle') await idle();
else { console.error('usage: node bench.mjs drain|idle --port P --ca FILE [--mailboxes N] [--parallel P]'); process.exit(2); }
