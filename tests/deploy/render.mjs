#!/usr/bin/env node
// tests/deploy/render: renders every overlay with kustomize (kubectl 1.27 or newer) into rendered/, where the tests read it: they need no kubectl
// then. Each file names the digest of what it was made from; a test compares. Secrets are replaced by dummies, dashboards by their digests.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import YAML from 'yaml';
import { here, root } from './facts.mjs';

export const overlays = ['demo', 'production', 'cloudnative-pg'];
export const renderedFile = (overlay) => join(here, 'rendered', `${overlay}.yaml`);
const sources = ['deploy/kubernetes', 'deploy/monitoring'];
const dummies = ['admin-token', 'master-key', 'database-url', 'database-password', 'database-ca.crt'];
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

function* files(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (name === 'secrets') continue;
    if (statSync(path).isDirectory()) yield* files(path);
    else yield path;
  }
}

export function digestOfSources() {
  return sha256(sources.flatMap((s) => [...files(join(root, s))]).map((f) => `${relative(root, f)} ${sha256(readFileSync(f))}\n`).join(''));
}

function render(overlay, copy) {
  const folder = join(copy, 'deploy/kubernetes/overlays', overlay);
  mkdirSync(join(folder, 'secrets'));
  for (const d of dummies) writeFileSync(join(folder, 'secrets', d), `not a secret: ${d}\n`);
  const docs = YAML.parseAllDocuments(execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })).map((d) => d.toJS());
  for (const d of docs)
    if (d.metadata.name === 'mailherd-dashboards') for (const k of Object.keys(d.data)) d.data[k] = `sha256:${sha256(d.data[k])}`;
  return docs.map((d) => YAML.stringify(d, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const copy = mkdtempSync(join(tmpdir(), 'mailherd-render-'));
  for (const s of sources) cpSync(join(root, s), join(copy, s), { recursive: true, filter: (f) => !f.endsWith('/secrets') });
  mkdirSync(join(here, 'rendered'), { recursive: true });
  for (const o of overlays) {
    const head = `# Made by ./dev k8s-render from deploy/: do not edit.\n# sources: ${digestOfSources()}\n`;
    writeFileSync(renderedFile(o), head + render(o, copy));
    console.log(`rendered ${o}`);
  }
  rmSync(copy, { recursive: true });
}
