// A receiver that misbehaves on command: verifies with the official library, notes every attempt, answers as its mode says.
//
//   node receiver.mjs <log file> [port]      POST /_mode {"mode": "ok|half|hang|gone|redirect|cut", "to": "...", "secret": "whsec_..."}
import { appendFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:http';

const require = createRequire(new URL('../../docs/receivers/node/', import.meta.url));
const { Webhook } = require('standardwebhooks');
const [log, port] = process.argv.slice(2);
let state = { mode: 'ok' };
const refused = new Set();
const note = (entry) => appendFileSync(log, `${JSON.stringify(entry)}\n`);

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString('utf8');
  if (request.url === '/_mode') {
    state = { ...state, ...JSON.parse(body) };
    return response.writeHead(204).end();
  }
  const id = request.headers['webhook-id'];
  let event;
  try {
    event = new Webhook(state.secret).verify(body, request.headers);
  } catch (error) {
    note({ id, problem: String(error.message) });
    return response.writeHead(401).end();
  }
  const entry = { id, type: event.type, channel: event.data.channel, sequence: event.data.sequence };
  switch (state.mode) {
    case 'half':
      if (!refused.has(id)) return refused.add(id) && response.writeHead(500).end('no'); // the first attempt of each event
      break;
    case 'hang':
      return note({ ...entry, hung: true });
    case 'gone':
      return response.writeHead(410).end();
    case 'redirect':
      return response.writeHead(301, { location: state.to }).end();
    case 'cut': // dies in the middle of its answer, after it has taken the event
      note({ ...entry, taken: true });
      response.writeHead(200, { 'content-length': '100' });
      response.write('half of it', () => process.kill(process.pid, 'SIGKILL'));
      return undefined;
  }
  note({ ...entry, taken: true });
  return response.writeHead(200).end('ok');
});
server.listen(Number(port ?? 0), '127.0.0.1', () => note({ listening: server.address().port }));
