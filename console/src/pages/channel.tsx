// One channel: how it is, what it needs, and everything that can be done with it.
import { useState } from 'preact/hooks';
import { call, type Loaded, useLoaded } from '../api';
import { go, to } from '../route';
import type { Channel, OauthApp, Session, TestReport } from '../types';
import { Button, Card, ChannelBadge, Confirm, Empty, Head, Notice, Problem, Shown, Time, toast, useAct } from '../ui/ui';
import { clock, count, plural, reconnectWords, states } from '../words';
import { ActivityCard } from './activity';
import { ConnectNotice, OwnerLink, useConnect } from './auth';
import { Events, Latest, ServerCard, SignInCard } from './channel-cards';
import { MoveDialog, SwitchDialog } from './channel-dialogs';
import { Report } from './report';

type Asking = 'switch' | 'link' | 'roll-back' | 'move' | 'delete' | null;

export function ChannelPage({ tenant, id, session }: { tenant: string; id: string; session: Session }) {
  const path = `/v1/tenants/${tenant}/channels/${id}`;
  const channel = useLoaded<Channel>(path, (n) => (n.kind === 'channel' ? n.channel === id : n.kind === 'mail' && n.tenant === tenant), 800);
  const app = useLoaded<OauthApp>(channel.data?.auth.app ? `/v1/tenants/${tenant}/oauth-apps/${channel.data.auth.app}` : null);
  if (channel.error?.status === 404)
    return (
      <Empty icon="channels" heading="h1" title="There is no such channel" actions={<Button href={to.channels(tenant)}>To the channels</Button>}>
        It may have been deleted.
      </Empty>
    );
  return <Shown of={channel}>{(c) => <One c={c} path={path} channel={channel} app={app.data} session={session} />}</Shown>;
}

function One({ c, path, channel, app, session }: { c: Channel; path: string; channel: Loaded<Channel>; app: OauthApp | null; session: Session }) {
  const [asking, ask] = useState<Asking>(null);
  const [report, setReport] = useState<TestReport | null>(null);
  const connect = useConnect(c.tenant, channel.set);
  const test = useAct();
  const act = useAct();
  const reconnect = reconnectWords(c);
  const start = () => connect.start(async () => c, c.auth.mailbox ? c.auth.account : c.address || c.auth.account, c.auth.grant === 'device_code');
  const runTest = () =>
    test.run(async () => {
      setReport(null);
      setReport(await call<TestReport>('POST', `${path}/test`));
    });
  const enable = (enabled: boolean) =>
    act.run(async () => {
      channel.set(await call<Channel>('PATCH', path, { enabled }));
      toast(enabled ? 'Enabled' : 'Disabled');
    });
  return (
    <>
      <Head
        title={c.name}
        crumbs={[['Channels', to.channels(c.tenant)]]}
        sub={
          <>
            <ChannelBadge c={c} />
            {c.address && <span class="wrap-any">{c.address}</span>}
            <Time at={c.state_since} />
          </>
        }
        actions={
          <>
            {reconnect && (
              <Button kind="primary" icon="link" onClick={start} busy={connect.state.step === 'waiting' && !connect.state.refused}>
                {reconnect}
              </Button>
            )}
            <Button icon="test" onClick={runTest} busy={test.busy}>
              Test connection
            </Button>
            <Button href={to.editChannel(c.tenant, c.id)}>Edit</Button>
          </>
        }
      />
      <div class="stack">
        <ConnectNotice state={connect.state} cancel={connect.cancel} />
        <StateNotice c={c} reconnect={reconnect} waiting={connect.state.step === 'waiting'} onConnect={start} onPassword={() => ask('switch')} />
        {act.error && <Problem error={act.error} />}
        {test.error && <Problem error={test.error} again={runTest} />}
        {(report || test.busy) && (
          <Card
            title="Test connection"
            actions={
              report && (
                <Button slim kind="quiet" onClick={() => setReport(null)}>
                  Close
                </Button>
              )
            }
          >
            {report ? (
              <Report report={report} />
            ) : (
              <p class="muted" role="status">
                Testing, step by step …
              </p>
            )}
          </Card>
        )}
        <div class="columns">
          <div class="stack">
            <Numbers c={c} />
            <ActivityCard tenant={c.tenant} id={c.id} />
            <Latest c={c} />
            <Events path={path} id={c.id} />
          </div>
          <div class="stack">
            <SignInCard
              c={c}
              app={app}
              onSwitch={() => ask('switch')}
              onRollBack={() => ask('roll-back')}
              onLink={reconnect ? () => ask('link') : undefined}
            />
            <ServerCard c={c} />
            <Card title="Manage">
              <div class="actions">
                {c.enabled ? (
                  <Button onClick={() => enable(false)} busy={act.busy}>
                    Disable
                  </Button>
                ) : (
                  <Button kind="primary" onClick={() => enable(true)} busy={act.busy}>
                    Enable
                  </Button>
                )}
                {session.role === 'operator' && <Button onClick={() => ask('move')}>Move to another node</Button>}
                <Button kind="danger" onClick={() => ask('delete')}>
                  Delete
                </Button>
              </div>
            </Card>
          </div>
        </div>
      </div>
      {asking === 'switch' && (
        <SwitchDialog
          c={c}
          path={path}
          app={app}
          onClose={() => ask(null)}
          onDone={(then) => {
            ask(null);
            channel.reload();
            if (then === 'connect') toast('Stored. Press Connect to give consent; the present sign-in serves until then.');
          }}
          connect={connect}
        />
      )}
      {asking === 'roll-back' && (
        <Confirm
          title="Roll back the sign-in"
          yes="Roll back"
          onClose={() => ask(null)}
          onYes={async () => {
            await call('POST', `${path}/auth/rollback`);
            ask(null);
            connect.cancel();
            toast('Rolling back');
            channel.reload();
          }}
        >
          The credentials that served before are used again. The present ones serve until the earlier ones hold the mailbox; no mail is missed.
        </Confirm>
      )}
      {asking === 'link' && <OwnerLink c={c} onClose={() => ask(null)} />}
      {asking === 'move' && <MoveDialog c={c} path={path} onClose={() => ask(null)} />}
      {asking === 'delete' && (
        <Confirm
          title={`Delete ${c.name}?`}
          yes="Delete the channel"
          type={c.name}
          onClose={() => ask(null)}
          onYes={async () => {
            await call('DELETE', path);
            toast('Deleted');
            go(`/t/${c.tenant}/channels`);
          }}
        >
          Its {plural(c.messages_stored, 'stored message')}, its credentials and its history are deleted with it. The mailbox on the server is not
          touched.
        </Confirm>
      )}
    </>
  );
}

// ---- what it needs ----------------------------------------------------------------------------------------------------------------------------

function StateNotice({
  c,
  reconnect,
  waiting,
  onConnect,
  onPassword,
}: {
  c: Channel;
  reconnect: string | null;
  waiting: boolean;
  onConnect: () => void;
  onPassword: () => void;
}) {
  const { tone, name } = states[c.state];
  const when = c.throttled_until ?? c.next_attempt_at;
  const failed = c.auth.switch.state === 'failed' && c.state !== 'needs_reauth';
  const calm = tone === 'good' || c.state === 'connecting' || c.state === 'backfilling';
  return (
    <>
      {!calm && !(waiting && c.state === 'consent_pending') && (
        <Notice
          tone={tone}
          title={name}
          actions={
            <>
              {reconnect && !failed && (
                <Button slim kind="primary" onClick={onConnect}>
                  {reconnect}
                </Button>
              )}
              {c.state === 'needs_reauth' && c.auth.type === 'basic' && (
                <Button slim kind="primary" icon="key" onClick={onPassword}>
                  Enter the password again
                </Button>
              )}
              {c.state === 'app_blocked' && c.auth.app && (
                <Button slim kind="primary" href={to.app(c.tenant, c.auth.app)}>
                  Open the OAuth app
                </Button>
              )}
            </>
          }
        >
          {c.state === 'disabled' ? 'Nothing is fetched. Mail that arrives meanwhile is fetched when the channel is enabled again.' : c.advice}
          {c.state_detail && <div class="muted small wrap-any">{c.state_detail}</div>}
          {when && (
            <div class="small">
              {c.throttled_until ? 'Goes on' : 'Next attempt'} <Time at={when} /> <span class="muted">({clock(when)})</span>
            </div>
          )}
        </Notice>
      )}
      {c.auth.switch.state === 'running' && !waiting && (
        <Notice tone="busy" title="A switch of sign-in is running" live>
          {reconnect ? `The new sign-in waits for consent: press ${reconnect}.` : 'The new credentials are being proven on the mailbox.'}{' '}
          {c.auth.observed_generation > 0 && 'The earlier ones serve until they hold it.'}
        </Notice>
      )}
      {failed && (
        <Notice
          tone="warn"
          title="The new sign-in did not take over"
          actions={
            <>
              <Button slim onClick={onPassword}>
                Correct and switch again
              </Button>
              {reconnect && (
                <Button slim onClick={onConnect}>
                  {reconnect}
                </Button>
              )}
            </>
          }
        >
          {c.state === 'active' ? c.advice : 'The earlier credentials keep serving.'}
          {c.auth.switch.error && <div class="muted small wrap-any">{c.auth.switch.error}</div>}
        </Notice>
      )}
      {c.backfill && (
        <Notice tone="busy" title="Catching up with what is in the mailbox">
          <div
            class="meter"
            role="progressbar"
            aria-label="Messages fetched"
            aria-valuenow={c.backfill.done}
            aria-valuemin={0}
            aria-valuemax={c.backfill.total}
          >
            <i style={{ width: `${c.backfill.total ? (100 * c.backfill.done) / c.backfill.total : 0}%` }} />
          </div>
          <span class="small num">
            {count(c.backfill.done)} of {count(c.backfill.total)} messages
          </span>
        </Notice>
      )}
    </>
  );
}

function Numbers({ c }: { c: Channel }) {
  return (
    <div class="tiles">
      <div class="tile">
        <div class="label">Messages stored</div>
        <div class="value">{count(c.messages_stored)}</div>
      </div>
      <div class="tile">
        <div class="label">Last success</div>
        <div class="value">
          <Time at={c.last_success_at} />
        </div>
      </div>
      <div class="tile">
        <div class="label">Served by</div>
        <div class="value cut">{c.node ?? '–'}</div>
      </div>
    </div>
  );
}
