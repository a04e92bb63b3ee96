// Test connection: every step with its time, what failed and what to do next.
import { useEffect, useRef } from 'preact/hooks';
import type { TestReport } from '../types';
import { Icon } from '../ui/icons';
import { Notice } from '../ui/ui';
import { count, plural, testSteps } from '../words';

export function Report({ report }: { report: TestReport }) {
  const failed = report.steps.find((s) => !s.ok);
  const top = useRef<HTMLDivElement>(null);
  // Whoever pressed the button below the form looks there.
  useEffect(() => top.current?.scrollIntoView({ block: 'nearest' }), []);
  const total = report.steps.reduce((n, s) => n + s.ms, 0);
  return (
    <div class="stack" ref={top}>
      {report.ok ? (
        <Notice tone="good" title="The connection works" live>
          {report.messages !== null ? (
            <>
              <b>{plural(report.messages, 'message')}</b> on the server{report.unseen !== null && `, ${count(report.unseen)} unread`}.{' '}
            </>
          ) : null}
          {report.account && (
            <>
              Signed in as <b class="wrap-any">{report.account}</b>.{' '}
            </>
          )}
          <span class="muted">It took {count(total)} ms.</span>
        </Notice>
      ) : (
        <Notice tone="bad" title={failed ? `It stops at: ${testSteps[failed.step] ?? failed.step}` : 'The connection does not work'} live>
          {failed?.advice ?? failed?.detail}
        </Notice>
      )}
      <ol class="steps" aria-label="Steps of the test">
        {report.steps.map((s) => (
          <li key={s.step}>
            <span class={s.ok ? 'good-text' : 'bad-text'}>
              <Icon name={s.ok ? 'check' : 'cross'} />
              <span class="hidden">{s.ok ? 'done' : 'failed'}</span>
            </span>
            <span class="what">{testSteps[s.step] ?? s.step}</span>
            <span class="muted num small">{count(s.ms)} ms</span>
            {s.detail && <span class="said">{s.detail}</span>}
          </li>
        ))}
      </ol>
    </div>
  );
}
