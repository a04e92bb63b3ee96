// A minimal receiver of Mailherd's webhooks: verifies the signature, drops repeats, answers at once.
//
//   WEBHOOK_SECRET=whsec_... PORT=3000 SEEN_FILE=seen.txt node receiver.mjs
//
// What it takes is durable before it answers 204: an id stands in SEEN_FILE, one a line. In production that is your database, and the id and
// whatever you make of the message are written in one transaction.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seenFile = process.env.SEEN_FILE ?? 'seen.txt';
const seen = new Set(existsSync(seenFile) ? readFileSync(seenFile, 'utf8').split('\n') : []);

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString('utf8');
  let event;
  try {
    event = webhook.verify(body, request.headers); // throws unless the body is exactly what was signed, and not older than five minutes
  } catch {
    response.writeHead(401).end();
    return;
  }
  const id = request.headers['webhook-id'];
  if (!seen.has(id)) {
    if (event.type === 'message.received') {
      const { channel, sequence, subject, automatic } = event.data;
      // `automatic` says that no person wrote it (bounce, auto_reply, list ...): never answer such mail, or two robots write to each other for ever.
      console.log(JSON.stringify({ id, channel, sequence, subject, automatic: automatic?.kind ?? null }));
    }
    appendFileSync(seenFile, `${id}\n`);
    seen.add(id);
  }
  response.writeHead(204).end();
});
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
