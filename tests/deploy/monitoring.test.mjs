// deploy/monitoring: rules and alerts under promtool, and every query, also of the dashboards, against the metrics and labels a node exposes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { parser } from '@prometheus-io/lezer-promql';
import YAML from 'yaml';
import { files as dashboards } from '../../deploy/monitoring/dashboards.mjs';
import { facts, here, read, root } from './facts.mjs';

const known = facts();
const spec = YAML.parse(read('deploy/monitoring/prometheus-rule.yaml')).spec;
const rules = spec.groups.flatMap((g) => g.rules);
const alerts = rules.filter((r) => r.alert), records = rules.filter((r) => r.record);
const unitTests = ['alerts.test.yaml', 'alerts-slow.test.yaml'];
const runbooks = 'docs/operations/runbooks';

// Not the node's: what Prometheus adds to every series, and kube-state-metrics.
const added = ['namespace', 'pod', 'instance', 'job', 'container', 'endpoint'];
const elsewhere = new Map([['kube_statefulset_replicas', ['statefulset']], ['kube_statefulset_status_replicas_ready', ['statefulset']]]);
/// What a recording rule leaves of its labels.
const recorded = new Map(records.map((r) => [r.record, /by \(([^)]*)\)/.exec(r.expr)?.[1].split(/,\s*/) ?? ['namespace']]));

const plain = (query) => query.replaceAll(/\$__rate_interval/g, '5m');

/// Every selector of a query: its metric and its matchers; every label that it groups or joins by.
function partsOf(query) {
  const tree = parser.parse(query), selectors = [], grouped = [];
  const text = (n) => query.slice(n.from, n.to);
  tree.iterate({
    enter(n) {
      if (n.type.isError) throw new Error(`not PromQL at ${n.from}: ${query}`);
      if (n.name === 'VectorSelector') {
        const found = { metric: undefined, matchers: [] };
        n.node.cursor().iterate((c) => {
          if (c.name === 'Identifier' && !found.metric) found.metric = text(c);
          if (c.name === 'UnquotedLabelMatcher' || c.name === 'LabelMatcher') {
            const [, label, op, value] = /^(\w+)\s*(=~|!~|!=|=)\s*"(.*)"$/s.exec(text(c));
            found.matchers.push({ label, op, value });
          }
        });
        selectors.push(found);
      }
      if (n.name === 'GroupingLabels') grouped.push(...text(n).replace(/[()\s]/g, '').split(',').filter(Boolean));
    },
  });
  return { selectors, grouped };
}

function labelsOf(metric) {
  if (known.metrics.names.has(metric)) return new Map([...known.metrics.names.get(metric), ...added.map((l) => [l, undefined])]);
  const outside = recorded.get(metric) ?? elsewhere.get(metric);
  return outside && new Map([...outside, ...(elsewhere.has(metric) ? added : [])].map((l) => [l, undefined]));
}

/// What is wrong with a query, as sentences.
function breaches(query) {
  const out = [], { selectors, grouped } = partsOf(plain(query)), all = new Set();
  for (const { metric, matchers } of selectors) {
    const labels = labelsOf(metric);
    if (!labels) { out.push(`${metric} is exposed by no node: ${query}`); continue; }
    for (const l of labels.keys()) all.add(l);
    for (const { label, op, value } of matchers) {
      if (!labels.has(label)) out.push(`${metric} has no label ${label}: ${query}`);
      // Values are known for all labels but tenants and versions, which are given by the world.
      const values = labels.get(label);
      if (!values || ['tenant', 'version'].includes(label) || value.startsWith('$')) continue;
      for (const v of op.includes('~') ? value.split('|') : [value]) if (!values.has(v)) out.push(`${metric} never has ${label}="${v}": ${query}`);
    }
  }
  for (const l of grouped) if (!all.has(l)) out.push(`nothing in it has a label ${l}: ${query}`);
  return out;
}

test('every rule asks for what nodes expose', () => assert.deepEqual(rules.flatMap((r) => breaches(r.expr)), []));

test('recording rules keep the labels that other rules read', () => {
  for (const [name, labels] of recorded) assert.ok(labels.includes('namespace'), `${name}: two installations would be one`);
  const read = new Set(rules.flatMap((r) => partsOf(r.expr).selectors).map((s) => s.metric));
  const shown = new Set(Object.values(dashboards).flatMap((text) => partsOfDashboard(text).flatMap((q) => partsOf(plain(q)).selectors)).map((s) => s.metric));
  for (const r of records) assert.ok(read.has(r.record) || shown.has(r.record), `nobody reads ${r.record}`);
});

function partsOfDashboard(text) {
  const d = JSON.parse(text);
  const picks = d.templating.list.filter((v) => v.type === 'query').map((v) => /^label_values\((.*), (\w+)\)$/.exec(v.query.query));
  return [...d.panels.flatMap((p) => p.targets.map((t) => t.expr)), ...picks.map(([, series, label]) => `count by (${label}) (${series})`)];
}

for (const [name, text] of Object.entries(dashboards)) {
  test(`${name} is what dashboards.mjs makes`, () => assert.equal(read(`deploy/monitoring/dashboards/${name}`), text, 'run node deploy/monitoring/dashboards.mjs'));
  test(`${name} asks for what nodes expose`, () => assert.deepEqual(partsOfDashboard(text).flatMap(breaches), []));
  test(`${name} stays in one installation and on its grid`, () => {
    const d = JSON.parse(text);
    for (const p of d.panels) {
      assert.ok(p.gridPos.x + p.gridPos.w <= 24, p.title);
      for (const t of p.targets) assert.match(t.expr, /namespace="\$namespace"/, p.title);
    }
  });
}

test('every alert has a runbook, a test and an urgency; every runbook an alert', () => {
  const tests = unitTests.map((f) => read(`tests/deploy/${f}`)).join('');
  for (const a of alerts) {
    assert.equal(a.annotations.runbook_url, `${runbooks}/${a.alert}.md`);
    assert.ok(existsSync(join(root, a.annotations.runbook_url)), `${a.alert} has no runbook`);
    assert.match(tests, new RegExp(`alertname="${a.alert}"`), `${a.alert} has no test`);
    assert.ok(['page', 'ticket'].includes(a.labels.severity), a.alert);
    const page = read(a.annotations.runbook_url);
    for (const part of ['## What it means', '## Look', '## Do']) assert.ok(page.includes(part), `${a.alert}: the runbook has no "${part}"`);
    assert.match(page, new RegExp(`^# ${a.alert}\n`));
  }
  const pages = readdirSync(join(root, runbooks)).filter((f) => f !== 'README.md').map((f) => f.replace('.md', ''));
  assert.deepEqual(pages.sort(), alerts.map((a) => a.alert).sort());
});

test('thresholds agree with the limits of the node', () => {
  const expr = (name) => alerts.find((a) => a.alert === name).expr;
  const settings = read('deploy/kubernetes/base/settings.env');
  const ttl = Number(/MAILHERD_LEASE_TTL=(\d+)s/.exec(settings)[1]);
  assert.equal(expr('MailherdLeaseLost'), `mailherd_lease_renew_age_seconds > ${ttl}`);
  assert.equal(expr('MailherdLeaseRenewalLate'), `mailherd_lease_renew_age_seconds > ${2 * known.limits.lease_renew}`);
  assert.equal(expr('MailherdStoreQueueLong'), `mailherd_store_queue_depth > ${known.limits.gate_units / 4}`);
});

test('alerts fire when they should, and only then (promtool)', () => {
  const promtool = process.env.PROMTOOL;
  assert.ok(promtool && existsSync(promtool), 'promtool is missing: ./dev test installs it');
  const dir = mkdtempSync(join(tmpdir(), 'mailherd-rules-'));
  try {
    writeFileSync(join(dir, 'rules.yaml'), YAML.stringify(spec));
    for (const f of unitTests) writeFileSync(join(dir, f), readFileSync(join(here, f)));
    for (const run of [['check', 'rules', 'rules.yaml'], ['test', 'rules', ...unitTests]])
      execFileSync(promtool, run, { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (e) {
    assert.fail(`${e.message}\n${e.stdout}`);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

// The check itself.
for (const [query, why] of [
  ['rate(mailherd_logins[5m])', 'no metric'], ['mailherd_channels{status="active"}', 'no label'], ['mailherd_channels{state="dead"}', 'no value'],
  ['mailherd_channels{state=~"active|dead"}', 'no value among several'], ['sum by (tenant) (mailherd_leases_owned)', 'grouped by nothing'],
  ['state:mailherd_channels:sum{tenant="t1"}', 'a label that was summed away'],
])
  test(`the check sees: ${why}`, () => assert.notDeepEqual(breaches(query), []));
