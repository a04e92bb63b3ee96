// tests/deploy/facts: what the node says of itself (facts.cpp), and where things are.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, '../..');
export const read = (path) => readFileSync(join(root, path), 'utf8');

/// Prometheus' text form → names, labels of each, values of each label.
export function exposed(text) {
  const names = new Map();
  for (const line of text.split('\n')) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? /.exec(line);
    if (!found) continue;
    const labels = names.get(found[1]) ?? new Map();
    for (const [, key, value] of (found[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)) labels.set(key, (labels.get(key) ?? new Set()).add(value));
    names.set(found[1], labels);
  }
  return names;
}

export function facts() {
  const said = JSON.parse(execFileSync(process.env.MAILHERD_FACTS, { encoding: 'utf8' }));
  return { ...said, metrics: { names: exposed(said.metrics) }, adapter: read('deploy/monitoring/adapter-rule.yaml') };
}
