// The form of an endpoint: where, what of it, how much at once.
import { useState } from 'preact/hooks';
import { call } from '../api';
import type { Webhook } from '../types';
import { Button, Check, Dialog, Field, FormError, useAct } from '../ui/ui';

const allEvents: [string, string][] = [
  ['message.received', 'A message was received'],
  ['channel.state_changed', "A channel's state changed"],
];
export const bodies: [string, string][] = [
  ['envelope', 'Who, what, when, and links'],
  ['text', 'Who, what, when, links, and its text'],
  ['raw', 'Who, what, when, links, and the raw message up to a size'],
];

/** A number, nothing, or what was typed: the node says what is wrong with that. */
function number(text: string) {
  const trimmed = text.trim();
  return /^\d+$/.test(trimmed) ? Number(trimmed) : trimmed || undefined;
}

export function HookDialog({
  tenant,
  hook,
  onClose,
  onDone,
}: {
  tenant: string;
  hook: Webhook | null;
  onClose: () => void;
  onDone: (w: Webhook) => void;
}) {
  const [url, setUrl] = useState(hook?.url ?? '');
  const [events, setEvents] = useState(hook?.events ?? allEvents.map(([e]) => e));
  const [channels, setChannels] = useState(hook?.channels.join(', ') ?? '');
  const [body, setBody] = useState<string>(hook?.body ?? 'envelope');
  const [rawBytes, setRawBytes] = useState(String(hook?.raw_bytes ?? ''));
  const [inFlight, setInFlight] = useState(String(hook?.max_in_flight ?? ''));
  const [perSecond, setPerSecond] = useState(String(hook?.max_per_second ?? ''));
  const act = useAct();
  const submit = async (e: Event) => {
    e.preventDefault();
    const base = `/v1/tenants/${tenant}/webhooks`;
    const what = {
      url: url.trim(),
      events,
      channels: channels.split(/[\s,]+/).filter(Boolean),
      body,
      raw_bytes: number(rawBytes),
      max_in_flight: number(inFlight),
      max_per_second: number(perSecond) ?? null,
    };
    const done = await act.run(() => call<Webhook>(hook ? 'PATCH' : 'POST', hook ? `${base}/${hook.id}` : base, what));
    if (done) onDone(done);
  };
  const errors = act.error?.fields;
  return (
    <Dialog title={hook ? 'Edit endpoint' : 'Add endpoint'} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field
          label="Address"
          name="url"
          type="url"
          value={url}
          onValue={setUrl}
          errors={errors}
          placeholder="https://example.com/mailherd"
          focus
          required
        />
        <fieldset class="stack">
          <legend>Events</legend>
          {allEvents.map(([e, words]) => (
            <Check
              key={e}
              label={words}
              hint={e}
              checked={events.includes(e)}
              onValue={(on) => setEvents(on ? [...events, e] : events.filter((x) => x !== e))}
            />
          ))}
        </fieldset>
        <Field
          label="Channels"
          name="channels"
          value={channels}
          onValue={setChannels}
          errors={errors}
          placeholder="c12, c15"
          hint="Their ids, as at the end of a channel's address here. Empty: all channels, also those that come later."
        />
        <Field label="What is sent of a message" name="body" value={body} onValue={setBody} errors={errors} options={bodies} />
        {body === 'raw' && (
          <Field
            label="Raw message up to, in bytes"
            name="raw_bytes"
            value={rawBytes}
            onValue={setRawBytes}
            errors={errors}
            hint="A larger one travels as a link. Empty: as it was, or the default."
          />
        )}
        <Field
          label="Requests at once"
          name="max_in_flight"
          value={inFlight}
          onValue={setInFlight}
          errors={errors}
          hint="One per channel in any case, so that its order is kept. Empty: as it was, or the default."
        />
        <Field
          label="Requests a second, at most"
          name="max_per_second"
          value={perSecond}
          onValue={setPerSecond}
          errors={errors}
          hint="Empty: as many as it takes."
        />
        <FormError error={act.error} shown={['url', 'body', 'channels', 'raw_bytes', 'max_in_flight', 'max_per_second']} />
        <div class="actions">
          <Button kind="primary" type="submit" busy={act.busy} disabled={!url.trim() || events.length === 0}>
            {hook ? 'Save' : 'Add'}
          </Button>
          <Button onClick={onClose}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}
