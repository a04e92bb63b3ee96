// The nodes and what each of them serves.
import { useState } from 'preact/hooks';
import { call, useLoaded } from '../api';
import type { Node } from '../types';
import { Badge, Button, Card, Confirm, Head, Shown, toast } from '../ui/ui';
import { count, plural, span, type Tone } from '../words';

const tones: Record<Node['state'], Tone> = { active: 'good', draining: 'warn', lost: 'bad' };

export function ClusterPage() {
  const cluster = useLoaded<{ nodes: Node[] }>('/v1/cluster', (n) => n.kind === 'channel', 5000);
  const [draining, drain] = useState<Node | null>(null);
  return (
    <>
      <Head
        title="Cluster"
        sub={
          cluster.data && (
            <span>
              {plural(cluster.data.nodes.length, 'node')},{' '}
              {plural(
                cluster.data.nodes.reduce((n, x) => n + x.channels, 0),
                'channel',
              )}{' '}
              served
            </span>
          )
        }
        actions={
          <Button onClick={cluster.reload} busy={cluster.loading}>
            Refresh
          </Button>
        }
      />
      <Shown of={cluster}>
        {(c) => (
          <Card flush>
            <div class="scroll" tabIndex={0} role="region" aria-label="Nodes">
              <table>
                <thead>
                  <tr>
                    <th>Node</th>
                    <th>State</th>
                    <th class="right">Channels</th>
                    <th class="right">Lease renewed</th>
                    <th>Version</th>
                    <th>
                      <span class="hidden">Actions</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {c.nodes.map((n) => (
                    <tr key={n.name}>
                      <td>
                        <b>{n.name}</b>
                      </td>
                      <td>
                        <Badge tone={tones[n.state]}>{n.state}</Badge>
                      </td>
                      <td class="right num">{count(n.channels)}</td>
                      <td class="right num">{span(n.lease_age_seconds)} ago</td>
                      <td class="mono">{n.version}</td>
                      <td class="right">
                        {n.state === 'active' && (
                          <Button slim onClick={() => drain(n)} label={`Drain ${n.name}`}>
                            Drain
                          </Button>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Card>
        )}
      </Shown>
      {draining && (
        <Confirm
          title={`Drain ${draining.name}?`}
          yes="Drain"
          onClose={() => drain(null)}
          onYes={async () => {
            await call('POST', `/v1/cluster/nodes/${encodeURIComponent(draining.name)}/drain`);
            drain(null);
            toast(`${draining.name} hands over its channels`);
            cluster.reload();
          }}
        >
          It hands its {plural(draining.channels, 'channel')} over to the other nodes and takes no new ones until it is started anew.
          {cluster.data && cluster.data.nodes.filter((n) => n.state === 'active').length < 2 && (
            <p>
              <b>It is the only active node: nothing is fetched until another one runs.</b>
            </p>
          )}
        </Confirm>
      )}
    </>
  );
}
