#!/usr/bin/env node
// Writes dashboards/*.json for Grafana from the tables below: node dashboards.mjs. A test compares the files with this, and every query with
// the metrics that a node exposes. What comes from the database is the same at every node: max over nodes, then sum.
import { writeFileSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join, dirname } from 'node:path';

const NS = 'namespace="$namespace"';
const channels = (by, more = '') => `sum by (${by}) (max by (tenant, state) (mailherd_channels{${NS}${more}}))`;
const rate = (metric, by, more = '') => `sum by (${by}) (rate(mailherd_${metric}{${NS}${more}}[$__rate_interval]))`;
const total = (metric, more = '') => `sum(rate(mailherd_${metric}{${NS}${more}}[$__rate_interval]))`;
const quantile = (q, metric, more = '') => `histogram_quantile(${q}, sum by (le) (rate(mailherd_${metric}_bucket{${NS}${more}}[$__rate_interval])))`;
const quantiles = (metric, more) => [[quantile(0.5, metric, more), 'p50'], [quantile(0.99, metric, more), 'p99']];
const T = ',tenant="$tenant"', P = ',pod=~"$pod"', V = ',provider=~"$provider"';

// [title, unit, width of 24, [[query, legend], ...], kind]
const dashboards = {
  'mailherd-overview': ['Mailherd: overview', [], [
    ['Channels without a session (objective: 0.5 %)', 'percentunit', 6, [[`mailherd:channels_unserved:ratio_avg5m{${NS}}`, 'now']], 'stat'],
    ['Messages later than two minutes (objective: 1 %)', 'percentunit', 6, [[`mailherd:fetch_late:ratio_rate1h{${NS}}`, 'last hour']], 'stat'],
    ['Nodes', 'short', 6, [[`count(mailherd_build_info{${NS}})`, 'nodes']], 'stat'],
    ['Channels that wait for a person', 'short', 6, [[`sum(max by (tenant, state) (mailherd_channels{${NS},state=~"needs_reauth|needs_admin|app_blocked"})) or vector(0)`, 'channels']], 'stat'],
    ['Channels by state', 'short', 12, [[channels('state'), '{{state}}']], 'stack'],
    ['Messages stored', 'cps', 12, [[rate('messages_stored_total', 'protocol'), '{{protocol}}']], 'stack'],
    ['From arrival to stored', 's', 12, quantiles('fetch_lag_seconds')],
    ['Least lucky channels that wait for no person', 's', 12, [[`topk(10, max by (tenant) (mailherd_overdue_seconds{${NS}}))`, '{{tenant}}']]],
    ['Error budget burnt, served (1: just kept)', 'short', 12, [[`mailherd:channels_unserved:ratio_avg1h{${NS}} / 0.005`, '1 h'], [`mailherd:channels_unserved:ratio_avg6h{${NS}} / 0.005`, '6 h'], [`mailherd:channels_unserved:ratio_avg3d{${NS}} / 0.005`, '3 d']]],
    ['Error budget burnt, fetch lag (1: just kept)', 'short', 12, [[`mailherd:fetch_late:ratio_rate1h{${NS}} / 0.01`, '1 h'], [`mailherd:fetch_late:ratio_rate6h{${NS}} / 0.01`, '6 h'], [`mailherd:fetch_late:ratio_rate3d{${NS}} / 0.01`, '3 d']]],
    ['Webhooks: deliveries', 'cps', 12, [[rate('webhook_deliveries_total', 'result'), '{{result}}']]],
    ['Webhooks: events that wait', 'short', 12, [[`sum(mailherd_webhook_backlog{${NS}})`, 'backlog']]],
    ['Channels by node', 'short', 12, [[`max by (pod) (mailherd_leases_owned{${NS}})`, '{{pod}}']], 'stack'],
    ['Versions', 'short', 12, [[`count by (version) (mailherd_build_info{${NS}})`, '{{version}}']], 'stack'],
  ]],
  'mailherd-tenant': ['Mailherd: tenant', ['tenant'], [
    ['Channels by state', 'short', 12, [[channels('state', T), '{{state}}']], 'stack'],
    ['Oldest success', 's', 12, [[`max(mailherd_oldest_success_age_seconds{${NS}${T}})`, 'of all enabled channels'], [`max(mailherd_overdue_seconds{${NS}${T}})`, 'of those that wait for no person']]],
    ['Messages stored', 'cps', 12, [[rate('messages_stored_total', 'protocol', T), '{{protocol}}']], 'stack'],
    ['Bytes stored', 'Bps', 12, [[rate('message_bytes_total', 'protocol', T), '{{protocol}}']], 'stack'],
    ['Share of all messages', 'percentunit', 12, [[`${total('messages_stored_total', T)} / ${total('messages_stored_total')}`, 'share']]],
    ['Average size', 'bytes', 12, [[`${total('message_bytes_total', T)} / ${total('messages_stored_total', T)}`, 'bytes']]],
  ]],
  'mailherd-node': ['Mailherd: nodes', ['pod'], [
    ['Channels', 'short', 12, [[`max by (pod) (mailherd_leases_owned{${NS}${P}})`, '{{pod}}']]],
    ['Since the lease was renewed (4 s is due, 15 s is over)', 's', 12, [[`max by (pod) (mailherd_lease_renew_age_seconds{${NS}${P}})`, '{{pod}}']]],
    ['Sessions', 'short', 12, [[`sum by (pod, protocol) (mailherd_sessions{${NS}${P}})`, '{{pod}} {{protocol}}']]],
    ['Logins', 'cps', 12, [[rate('logins_total', 'pod, result', P), '{{pod}} {{result}}']]],
    ['Handovers', 'cps', 12, [[rate('handovers_total', 'reason, result', P), '{{reason}} {{result}}']]],
    ['Time without a session: handovers', 's', 12, quantiles('handover_gap_seconds', P)],
    ['Units that wait to be stored', 'short', 12, [[`max by (pod) (mailherd_store_queue_depth{${NS}${P}})`, '{{pod}}']]],
    ['Commits', 's', 12, quantiles('store_commit_seconds', P)],
    ['Fenced writes', 'cps', 8, [[rate('fenced_writes_total', 'pod', P), '{{pod}}']]],
    ['Restarted by the watchdog', 'cps', 8, [[rate('watchdog_restarts_total', 'pod', P), '{{pod}}']]],
    ['Duplicates suppressed', 'cps', 8, [[rate('duplicates_suppressed_total', 'pod', P), '{{pod}}']]],
    ['CPU', 'short', 8, [[`sum by (pod) (rate(process_cpu_seconds_total{${NS}${P}}[$__rate_interval]) and on (namespace, pod) mailherd_build_info)`, '{{pod}}']]],
    ['Memory', 'bytes', 8, [[`process_resident_memory_bytes{${NS}${P}} and on (namespace, pod) mailherd_build_info`, '{{pod}}']]],
    ['File descriptors', 'percentunit', 8, [[`process_open_fds{${NS}${P}} / process_max_fds{${NS}${P}} and on (namespace, pod) mailherd_build_info`, '{{pod}}']]],
  ]],
  'mailherd-provider': ['Mailherd: providers and sign-in', ['provider'], [
    ['Token requests', 'cps', 12, [[rate('token_refreshes_total', 'provider, result', V), '{{provider}} {{result}}']]],
    ['One token request', 's', 12, quantiles('token_refresh_seconds')],
    ['Channels that wait because they were told to', 'short', 12, [[`max by (provider) (mailherd_throttled_channels{${NS}${V}})`, '{{provider}}']], 'stack'],
    ['Logins by mechanism', 'cps', 12, [[rate('logins_total', 'mechanism', ',result="ok"'), '{{mechanism}}']], 'stack'],
    ['Failed logins', 'cps', 12, [[rate('logins_total', 'mechanism', ',result="failed"'), '{{mechanism}}']]],
    ['Sessions and attempts that failed', 'cps', 12, [[`topk(10, ${rate('session_failures_total', 'protocol, reason')} > 0)`, '{{protocol}} {{reason}}']]],
    ['Changes of the serving session', 'cps', 12, [[rate('auth_switches_total', 'from, to, result'), '{{from}} → {{to}} {{result}}']]],
    ['Time without a session: changes', 's', 12, quantiles('auth_switch_gap_seconds')],
    ['Secrets of OAuth apps: the first to expire', 's', 12, [[`bottomk(10, min by (tenant) (mailherd_app_secret_expires_seconds{${NS}}))`, '{{tenant}}']]],
    ['Channels that wait for a person', 'short', 12, [[channels('state', ',state=~"consent_pending|needs_reauth|needs_admin|app_blocked"'), '{{state}}']], 'stack'],
  ]],
};

const source = { type: 'prometheus', uid: '${datasource}' };
const variable = (name, metric, all) => ({
  name, type: 'query', datasource: source, query: { query: `label_values(${metric}, ${name})`, refId: name }, refresh: 2, sort: 1,
  includeAll: all, multi: all, ...(all ? { current: { text: 'All', value: '$__all' } } : {}),
});
const variables = {
  tenant: variable('tenant', `mailherd_channels{${NS}}`, false),
  pod: variable('pod', `mailherd_build_info{${NS}}`, true),
  provider: variable('provider', `mailherd_token_refreshes_total{${NS}}`, true),
};

function panel([title, unit, width, targets, kind], id, gridPos) {
  const custom = kind === 'stat' ? {} : { drawStyle: 'line', fillOpacity: kind === 'stack' ? 30 : 5, showPoints: 'never', stacking: { mode: kind === 'stack' ? 'normal' : 'none' } };
  return {
    id, title, gridPos, datasource: source, type: kind === 'stat' ? 'stat' : 'timeseries',
    fieldConfig: { defaults: { unit, min: 0, custom }, overrides: [] },
    options: kind === 'stat' ? { reduceOptions: { calcs: ['lastNotNull'] } } : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: targets.map(([expr, legendFormat], i) => ({ refId: 'ABCDEFG'[i], datasource: source, expr, legendFormat })),
  };
}

function dashboard(uid, [title, names, rows]) {
  let x = 0, y = 0, high = 0;
  const panels = rows.map((row, i) => {
    const w = row[2], h = row[4] === 'stat' ? 4 : 8;
    if (x + w > 24) [x, y, high] = [0, y + high, 0];
    const at = { x, y, w, h };
    [x, high] = [x + w, Math.max(high, h)];
    return panel(row, i + 1, at);
  });
  return {
    uid, title, tags: ['mailherd'], schemaVersion: 39, version: 1, editable: true, refresh: '30s', time: { from: 'now-6h', to: 'now' }, timezone: 'browser',
    links: [{ type: 'dashboards', tags: ['mailherd'], title: 'Mailherd', asDropdown: true, includeVars: true, keepTime: true }],
    templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus' }, variable('namespace', 'mailherd_build_info', false), ...names.map((n) => variables[n])] },
    panels,
  };
}

export const files = Object.fromEntries(Object.entries(dashboards).map(([uid, d]) => [`${uid}.json`, JSON.stringify(dashboard(uid, d), null, 1) + '\n']));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const to = join(dirname(fileURLToPath(import.meta.url)), 'dashboards');
  mkdirSync(to, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(to, name), text);
}
