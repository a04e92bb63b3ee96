// Messages and lag of a channel as a small picture, with the same in words.
import { useState } from 'preact/hooks';
import { useLoaded } from '../api';
import type { Activity } from '../types';
import { Card, Shown } from '../ui/ui';
import { plural, span } from '../words';

const spans: [string, string][] = [
  ['hour', 'Hour'],
  ['day', 'Day'],
  ['week', 'Week'],
];

export function ActivityCard({ tenant, id }: { tenant: string; id: string }) {
  const [by, setBy] = useState('hour');
  const loaded = useLoaded<Activity>(
    `/v1/tenants/${tenant}/channels/${id}/activity?span=${by}`,
    (n) => n.kind !== 'all' && n.tenant === tenant,
    3000,
  );
  return (
    <Card
      title="Messages and lag"
      actions={
        <div class="chips" role="group" aria-label="Time span">
          {spans.map(([value, name]) => (
            <button class="chip" key={value} aria-pressed={by === value} onClick={() => setBy(value)}>
              {name}
            </button>
          ))}
        </div>
      }
    >
      <Shown of={loaded}>{(a) => <Picture a={a} by={by} />}</Shown>
    </Card>
  );
}

function Picture({ a, by }: { a: Activity; by: string }) {
  const now = Math.floor(Date.now() / 1000 / a.slice_seconds);
  const slices = Array.from({ length: a.slices }, () => ({ messages: 0, lag: 0 }));
  for (const i of a.items) {
    const at = a.slices - 1 - (now - Math.round(Date.parse(i.at) / 1000 / a.slice_seconds));
    if (slices[at]) slices[at] = { messages: i.messages, lag: i.lag_seconds };
  }
  const most = Math.max(1, ...slices.map((s) => s.messages));
  const slowest = Math.max(0.001, ...slices.map((s) => s.lag));
  const total = slices.reduce((n, s) => n + s.messages, 0);
  const lags = slices
    .filter((s) => s.messages > 0)
    .map((s) => s.lag)
    .sort((x, y) => x - y);
  const middle = lags[Math.floor(lags.length / 2)] ?? 0;
  const words =
    total === 0
      ? `No message in the last ${by}`
      : `${plural(total, 'message')} in the last ${by}; lag ${span(middle)} in the middle, ${span(slowest)} at most`;
  let line = '';
  let open = false;
  slices.forEach((s, i) => {
    if (s.messages === 0) {
      open = false;
      return;
    }
    line += `${open ? 'L' : 'M'}${i * 10 + 5} ${(58 - (48 * s.lag) / slowest).toFixed(1)} ${open ? '' : 'h.01 '}`;
    open = true;
  });
  return (
    <figure>
      <svg class="spark" viewBox={`0 0 ${a.slices * 10} 64`} preserveAspectRatio="none" role="img" aria-label={words}>
        <path class="base" d={`M0 63.5H${a.slices * 10}`} />
        {slices.map(
          (s, i) =>
            s.messages > 0 && <rect key={i} x={i * 10 + 1.5} width={7} y={63 - (58 * s.messages) / most} height={(58 * s.messages) / most} rx={1} />,
        )}
        {line && <path d={line} />}
      </svg>
      <figcaption class="legend">
        <span>
          <i />
          Messages
        </span>
        <span>
          <i class="line" />
          Lag: from the server's date to the store
        </span>
        <span>{words}</span>
      </figcaption>
    </figure>
  );
}
