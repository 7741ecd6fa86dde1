// The files under test, and promtool. This code parses no YAML: promtool and Prometheus do, and report its errors.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../..');
export const RULES = path.join(ROOT, 'docs/grafana/alerts.yml');
export const CASES = path.join(ROOT, 'tests/prometheus/alerts.yml');

export const required = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run this with scripts/prometheus-test`);
  return value;
};

export const program = (name) => path.join(required('LASTLIGHT_PROMETHEUS'), name);

export function promtool(args, input) {
  const { status, stdout, stderr, error } = spawnSync(program('promtool'), args, { input, encoding: 'utf8', cwd: ROOT });
  if (error) throw error;
  return { status, said: `${stdout}${stderr}` };
}

export const alerts = () => [...readFileSync(RULES, 'utf8').matchAll(/^ *- alert: (\w+)$/gm)].map(([, name]) => name);

export const dashboard = () => JSON.parse(readFileSync(path.join(ROOT, 'docs/grafana/lastlight.json'), 'utf8'));
