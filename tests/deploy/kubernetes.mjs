// tests/deploy/kubernetes: what is wrong with a set of manifests, as sentences. Decides nothing about where they come from.
// Schemas are those of the current Kubernetes; a field that a schema does not know is found by watching which fields its validator reads.
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');
const schemaFolders = [join(modules, 'kubernetes-models/_schemas'), join(modules, '@kubernetes-models/prometheus-operator/_schemas')];
/// Kinds that no package has a schema of. Each is an example that only its operator can check.
const withoutSchema = new Set(['postgresql.cnpg.io/v1/Cluster']);

const schemaFiles = new Map();   // "AppsV1StatefulSet" → file
for (const folder of schemaFolders)
  for (const f of readdirSync(folder)) {
    const found = /^(?:IoK8sApi|ComGithubPrometheusOperatorPrometheusOperatorPkgApis)(\w+)\.js$/.exec(f);
    if (found) schemaFiles.set(found[1], join(folder, f));
  }

function schemaOf({ apiVersion, kind }) {
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['core', apiVersion];
  const upper = (s) => s[0].toUpperCase() + s.slice(1);
  return schemaFiles.get(upper(group.split('.')[0]) + upper(version) + kind);
}

/// A copy that remembers which of its fields were read.
function watched(value, path, seen) {
  if (value === null || typeof value !== 'object') return value;
  const read = new Set(), children = new Map();
  seen.push({ value, path, read });
  return new Proxy(value, {
    get(target, key) {
      if (typeof key !== 'string' || !Object.hasOwn(target, key)) return target[key];
      read.add(key);
      if (!children.has(key)) children.set(key, watched(target[key], `${path}.${key}`, seen));
      return children.get(key);
    },
  });
}

export async function schemaBreaches(doc) {
  const name = `${doc.kind} ${doc.metadata?.name}`;
  const file = schemaOf(doc);
  if (!file) return withoutSchema.has(`${doc.apiVersion}/${doc.kind}`) ? [] : [`${name}: no schema of ${doc.apiVersion}`];
  const { validate } = await import(pathToFileURL(file));
  const seen = [], out = [];
  if (!validate(watched(doc, '', seen))) for (const e of validate.errors) out.push(`${name}${e.instancePath}: ${e.message ?? e.keyword} ${JSON.stringify(e.params)}`);
  for (const { value, path, read } of seen)
    if (!Array.isArray(value)) for (const key of Object.keys(value)) if (!read.has(key)) out.push(`${name}: unknown field ${path}.${key}`);
  return out;
}

const matches = (selector, labels) => Object.entries(selector ?? {}).every(([k, v]) => labels?.[k] === v);
const seconds = (text) => parseInt(text) * { s: 1, m: 60, h: 3600 }[text.at(-1)];

/// A model of the manifests that the checks below ask.
function model(docs) {
  const of = (kind) => docs.filter((d) => d.kind === kind);
  const named = (kind, name) => docs.find((d) => d.kind === kind && d.metadata.name === name);
  const workloads = [...of('StatefulSet'), ...of('Deployment')];
  const pods = workloads.map((w) => ({ owner: w, labels: w.spec.template.metadata.labels, spec: w.spec.template.spec }));
  // CloudNativePG makes these itself.
  const made = new Map(of('Cluster').flatMap((c) => [[`${c.metadata.name}-app`, ['uri', 'username', 'password']], [`${c.metadata.name}-ca`, ['ca.crt']]]));
  const keys = (kind, name) => (kind === 'Secret' && made.get(name)) || (named(kind, name) && Object.keys(named(kind, name).data ?? {}));
  return { docs, of, named, pods, keys };
}

function references(m, say) {
  for (const { owner, spec } of m.pods) {
    const at = `${owner.kind} ${owner.metadata.name}`;
    const need = (kind, name, key) => {
      const keys = m.keys(kind, name);
      if (!keys) say(`${at}: there is no ${kind} ${name}`);
      else if (key && !keys.includes(key)) say(`${at}: ${kind} ${name} has no ${key}`);
    };
    if (spec.serviceAccountName && !m.named('ServiceAccount', spec.serviceAccountName)) say(`${at}: there is no ServiceAccount ${spec.serviceAccountName}`);
    const volumes = new Set([...(spec.volumes ?? []), ...(owner.spec.volumeClaimTemplates ?? []).map((c) => c.metadata)].map((v) => v.name));
    for (const v of spec.volumes ?? []) {
      if (v.secret) (v.secret.items ?? [{}]).forEach((i) => need('Secret', v.secret.secretName, i.key));
      if (v.configMap) need('ConfigMap', v.configMap.name);
    }
    for (const c of spec.containers) {
      for (const e of c.envFrom ?? []) need('ConfigMap', e.configMapRef.name);
      for (const { valueFrom: f } of c.env ?? []) {
        if (f?.secretKeyRef) need('Secret', f.secretKeyRef.name, f.secretKeyRef.key);
        if (f?.configMapKeyRef) need('ConfigMap', f.configMapKeyRef.name, f.configMapKeyRef.key);
      }
      for (const v of c.volumeMounts ?? []) if (!volumes.has(v.name)) say(`${at}: there is no volume ${v.name}`);
      const ports = new Set((c.ports ?? []).map((p) => p.name));
      for (const p of ['startupProbe', 'livenessProbe', 'readinessProbe'])
        if (c[p]?.httpGet && !ports.has(c[p].httpGet.port)) say(`${at}: ${p} asks the port ${c[p].httpGet.port}, which there is not`);
    }
    const service = owner.kind === 'StatefulSet' && m.named('Service', owner.spec.serviceName);
    if (owner.kind === 'StatefulSet' && !service) say(`${at}: there is no Service ${owner.spec.serviceName}`);
    if (!matches(owner.spec.selector.matchLabels, owner.spec.template.metadata.labels)) say(`${at}: selects other pods than its own`);
  }
}

function selectors(m, say) {
  const selected = (labels) => m.pods.filter((p) => matches(labels, p.labels));
  const portsOf = (pods) => new Set(pods.flatMap((p) => p.spec.containers.flatMap((c) => (c.ports ?? []).map((x) => x.name))));
  for (const s of m.of('Service')) {
    const pods = selected(s.spec.selector);
    if (pods.length !== 1) say(`Service ${s.metadata.name} selects ${pods.length} workloads`);
    for (const p of s.spec.ports) if (!portsOf(pods).has(p.targetPort)) say(`Service ${s.metadata.name}: the pods have no port ${p.targetPort}`);
  }
  for (const kind of ['PodDisruptionBudget', 'PodMonitor', 'NetworkPolicy'])
    for (const d of m.of(kind)) {
      const pods = selected((d.spec.selector ?? d.spec.podSelector).matchLabels);
      if (pods.length !== 1) say(`${kind} ${d.metadata.name} selects ${pods.length} workloads`);
      const named = [...(d.spec.podMetricsEndpoints ?? []).map((e) => e.port), ...(d.spec.ingress ?? []).flatMap((r) => r.ports ?? []).map((p) => p.port)];
      for (const port of named) if (typeof port === 'string' && !portsOf(pods).has(port)) say(`${kind} ${d.metadata.name}: the pods have no port ${port}`);
    }
  for (const d of m.of('Ingress'))
    for (const { service } of d.spec.rules.flatMap((r) => r.http.paths).map((p) => p.backend)) {
      const to = m.named('Service', service.name);
      if (!to?.spec.ports.some((p) => p.name === service.port.name)) say(`Ingress ${d.metadata.name}: there is no port ${service.port.name} of a Service ${service.name}`);
    }
  for (const d of m.of('HorizontalPodAutoscaler')) {
    const to = m.named(d.spec.scaleTargetRef.kind, d.spec.scaleTargetRef.name);
    if (!to) say(`HorizontalPodAutoscaler ${d.metadata.name} scales nothing`);
    else if (to.spec.replicas !== undefined) say(`${to.kind} ${to.metadata.name} has replicas although an autoscaler owns them`);
  }
}

/// Pod Security Standards, "restricted", and a read-only root file system and no token besides.
function hardening(m, say) {
  const allowed = new Set(['configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'persistentVolumeClaim', 'projected', 'secret']);
  for (const { owner, spec } of m.pods) {
    const at = `${owner.kind} ${owner.metadata.name}`;
    const must = (so, what) => so || say(`${at}: ${what}`);
    must(!spec.hostNetwork && !spec.hostPID && !spec.hostIPC, 'shares something of the host');
    must(spec.automountServiceAccountToken === false, 'mounts a token that nobody needs');
    for (const v of spec.volumes ?? []) must(Object.keys(v).every((k) => k === 'name' || allowed.has(k)), `volume ${v.name} is of a kind that is not allowed`);
    for (const c of [...spec.containers, ...(spec.initContainers ?? [])]) {
      const s = { ...spec.securityContext, ...c.securityContext };
      must(s.runAsNonRoot === true && s.runAsUser > 0, 'may run as root');
      must(s.allowPrivilegeEscalation === false && !s.privileged, 'may gain rights');
      must(s.capabilities?.drop?.includes('ALL') && !s.capabilities.add, 'has capabilities');
      must(['RuntimeDefault', 'Localhost'].includes(s.seccompProfile?.type), 'has no seccomp profile');
      must(s.readOnlyRootFilesystem === true, 'may write to its root file system');
      must(c.resources?.requests?.memory && c.resources.limits?.memory, 'says nothing of its memory');
      must(!/:latest$/.test(c.image) || /^localhost\//.test(c.image), 'runs an image that changes under its name');
    }
  }
}

/// What the node knows: its settings, its routes, how long it needs to stop.
function node(m, facts, say) {
  const pod = m.pods.find((p) => p.owner.metadata.name === 'mailherd');
  if (!pod) return say('there is no StatefulSet mailherd');
  const [c] = pod.spec.containers;
  const config = Object.assign({}, ...(c.envFrom ?? []).map((e) => m.named('ConfigMap', e.configMapRef.name)?.data ?? {}));
  for (const name of [...Object.keys(config), ...(c.env ?? []).map((e) => e.name)])
    if (!facts.settings.includes(name) && !/^PG[A-Z]+$/.test(name)) say(`the node has no setting ${name}`);
  const asked = ['startupProbe', 'livenessProbe', 'readinessProbe'].map((p) => c[p].httpGet.path);
  for (const path of asked) if (!facts.routes.includes(path)) say(`a probe asks ${path}, which the node has not`);
  if (new Set(asked).size !== 3) say('two probes ask the same question');
  const patience = c.startupProbe.periodSeconds * c.startupProbe.failureThreshold;
  if (patience < 600) say(`a migration may take no more than ${patience} s`);
  const need = (c.lifecycle?.preStop?.sleep?.seconds ?? 0) + seconds(config.MAILHERD_STOP_GRACE) + facts.limits.stop_rest;
  if (pod.spec.terminationGracePeriodSeconds < need + 5) say(`a pod is killed after ${pod.spec.terminationGracePeriodSeconds} s, but a node may need ${need} s to stop`);
  if (c.livenessProbe.periodSeconds * c.livenessProbe.failureThreshold <= seconds(config.MAILHERD_LEASE_TTL)) say('a node is restarted before its lease has ended');
  const port = (setting) => Number(config[setting].split(':').at(-1));
  const ports = Object.fromEntries(c.ports.map((p) => [p.name, p.containerPort]));
  if (port('MAILHERD_LISTEN') !== ports.http || port('MAILHERD_METRICS_LISTEN') !== ports.metrics) say('the node listens on other ports than its container says');
  for (const d of m.of('HorizontalPodAutoscaler'))
    for (const { pods } of d.spec.metrics) {
      if (!facts.metrics.names.has(pods.metric.name)) say(`the autoscaler reads ${pods.metric.name}, which no node exposes`);
      if (!facts.adapter.includes(pods.metric.name)) say(`adapter-rule.yaml does not make ${pods.metric.name}`);
      if (Number(pods.target.averageValue) >= Number(config.MAILHERD_MAX_CHANNELS)) say('nodes are full before the autoscaler adds one');
    }
}

function generated(m, say) {
  for (const kind of ['ConfigMap', 'Secret'])
    for (const d of m.of(kind))
      if (!/-[0-9a-z]{10}$/.test(d.metadata.name) && d.metadata.name !== 'mailherd-dashboards') say(`${kind} ${d.metadata.name}: a change of it restarts nothing`);
}

export async function breaches(docs, facts) {
  const out = [], say = (text) => void out.push(text);
  for (const d of docs) out.push(...(await schemaBreaches(d)));
  const m = model(docs);
  for (const check of [references, selectors, hardening, generated]) check(m, say);
  node(m, facts, say);
  const names = docs.map((d) => `${d.kind}/${d.metadata.name}`);
  for (const n of new Set(names)) if (names.filter((x) => x === n).length > 1) say(`${n} is there twice`);
  return out;
}
