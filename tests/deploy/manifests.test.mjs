// deploy/kubernetes: every overlay, as kustomize renders it, against the schemas of the current Kubernetes, against itself, and against the node.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import YAML from 'yaml';
import { facts } from './facts.mjs';
import { breaches } from './kubernetes.mjs';
import { digestOfSources, overlays, renderedFile } from './render.mjs';

const known = facts();
const load = (overlay) => YAML.parseAllDocuments(readFileSync(renderedFile(overlay), 'utf8')).map((d) => d.toJS());

for (const overlay of overlays) {
  test(`${overlay} is rendered from what is there`, () => {
    const made = /^# sources: (\w+)$/m.exec(readFileSync(renderedFile(overlay), 'utf8'))[1];
    assert.equal(made, digestOfSources(), 'deploy/ was changed since: run ./dev k8s-render and commit tests/deploy/rendered');
  });
  test(`${overlay} is in order`, async () => {
    assert.deepEqual(await breaches(load(overlay), known), []);
  });
}

test('every overlay keeps the nodes in sight and in bounds', () => {
  for (const overlay of overlays) {
    const kinds = load(overlay).map((d) => d.kind);
    for (const kind of ['Namespace', 'StatefulSet', 'Service', 'ServiceAccount', 'PodDisruptionBudget', 'NetworkPolicy', 'ConfigMap', 'Secret'])
      assert.ok(kinds.includes(kind), `${overlay} has no ${kind}`);
    for (const kind of ['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding']) assert.ok(!kinds.includes(kind), `${overlay} gives rights`);
    for (const d of load(overlay)) assert.ok(d.kind === 'Namespace' || d.metadata.namespace, `${overlay}: ${d.kind} ${d.metadata.name} is in no namespace`);
  }
  for (const kind of ['HorizontalPodAutoscaler', 'PodMonitor', 'PrometheusRule', 'Ingress'])
    assert.ok(load('production').some((d) => d.kind === kind), `production has no ${kind}`);
});

// The checks themselves: each of these changes must be seen.
const set = (docs) => docs.find((d) => d.kind === 'StatefulSet' && d.metadata.name === 'mailherd');
const pod = (docs) => set(docs).spec.template.spec;
const of = (docs, kind) => docs.find((d) => d.kind === kind);
const mistakes = {
  'unknown field': (d) => (pod(d).containers[0].livenesProbe = {}),
  'type': (d) => (set(d).spec.minReadySeconds = 'ten'),
  'is not a field of that version': (d) => (of(d, 'PodDisruptionBudget').apiVersion = 'policy/v9'),
  'a setting that the node does not know': (d) => pod(d).containers[0].env.push({ name: 'MAILHERD_LEASE_TLL', value: '1s' }),
  'a secret that is not there': (d) => (pod(d).volumes[0].secret.secretName = 'gone'),
  'a key that is not there': (d) => (pod(d).containers[0].env.find((e) => e.valueFrom?.secretKeyRef).valueFrom.secretKeyRef.key = 'uri2'),
  'a service account that is not there': (d) => (pod(d).serviceAccountName = 'gone'),
  'a probe without a route': (d) => (pod(d).containers[0].readinessProbe.httpGet.path = '/ready'),
  'two probes alike': (d) => (pod(d).containers[0].readinessProbe.httpGet.path = '/healthz'),
  'a drain cut short': (d) => (pod(d).terminationGracePeriodSeconds = 30),
  'a port nobody listens on': (d) => (of(d, 'ConfigMap'), (d.find((x) => /settings/.test(x.metadata.name)).data.MAILHERD_LISTEN = '0.0.0.0:8081')),
  'a service for nobody': (d) => (of(d, 'Service').spec.selector['app.kubernetes.io/name'] = 'other'),
  'a budget for nobody': (d) => (of(d, 'PodDisruptionBudget').spec.selector.matchLabels['app.kubernetes.io/component'] = 'x'),
  'an ingress to nowhere': (d) => (of(d, 'Ingress').spec.rules[0].http.paths[0].backend.service.name = 'x'),
  'a root file system to write to': (d) => (pod(d).containers[0].securityContext.readOnlyRootFilesystem = false),
  'root': (d) => delete pod(d).securityContext.runAsNonRoot,
  'capabilities': (d) => (pod(d).containers[0].securityContext.capabilities.drop = ['NET_RAW']),
  'a token': (d) => delete pod(d).automountServiceAccountToken,
  'a host path': (d) => pod(d).volumes.push({ name: 'x', hostPath: { path: '/' } }),
  'replicas beside an autoscaler': (d) => (set(d).spec.replicas = 3),
  'a metric nobody exposes': (d) => (of(d, 'HorizontalPodAutoscaler').spec.metrics[0].pods.metric.name = 'mailherd_channels_owned'),
  'an autoscaler that comes too late': (d) => (of(d, 'HorizontalPodAutoscaler').spec.metrics[0].pods.target.averageValue = '12000'),
  'a name without a hash': (d) => (d.find((x) => x.kind === 'Secret').metadata.name = 'mailherd-database'),
  'an image that moves': (d) => (pod(d).containers[0].image = 'registry.example.com/mailherd:latest'),
};
for (const [what, change] of Object.entries(mistakes))
  test(`the checks see: ${what}`, async () => {
    const docs = load('production');
    change(docs);
    assert.notDeepEqual(await breaches(docs, known), []);
  });
