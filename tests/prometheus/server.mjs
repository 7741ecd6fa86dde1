// A Prometheus server that scrapes one app every second and evaluates the rules as often. Its data is deleted when it stops.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { LIMIT } from '../browser/cloud.mjs';
import { program, RULES } from './files.mjs';

// Prometheus does not report the port that it gets for 0.
const freePort = () => new Promise((resolve, reject) => {
  const server = createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

export async function startPrometheus(url) {
  const data = mkdtempSync(path.join(tmpdir(), 'lastlight-prometheus-'));
  const config = path.join(data, 'prometheus.yml');
  // JSON is valid YAML.
  writeFileSync(config, JSON.stringify({
    global: { scrape_interval: '3s', scrape_timeout: '3s', evaluation_interval: '1s' },
    rule_files: [RULES],
    scrape_configs: [{ job_name: 'lastlight', metrics_path: '/api/metrics', static_configs: [{ targets: [new URL(url).host] }] }],
  }));
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(program('prometheus'), [
    `--config.file=${config}`, `--storage.tsdb.path=${path.join(data, 'tsdb')}`, `--web.listen-address=${address}`, '--log.level=warn',
  ], { cwd: data, stdio: ['ignore', 'ignore', 'pipe'] });
  const prometheus = new Prometheus(child, `http://${address}`, data);
  try {
    await prometheus.isReady();
  } catch (error) {
    await prometheus.stop();
    throw error;
  }
  return prometheus;
}

class Prometheus {
  constructor(child, url, data) {
    Object.assign(this, { child, url, data, log: [], failure: null });
    createInterface({ input: child.stderr }).on('line', (line) => this.log.push(line));
    child.once('error', (error) => { this.failure = error; });
    this.ended = new Promise((resolve) => { child.once('close', resolve); });
  }

  async isReady() {
    for (const until = Date.now() + LIMIT; Date.now() < until;) {
      if (this.failure) throw this.failure;
      if (this.child.exitCode !== null) throw new Error(`Prometheus ended with ${this.child.exitCode}:\n${this.log.join('\n')}`);
      if (await fetch(`${this.url}/-/ready`).then(({ ok }) => ok, () => false)) return;
      await sleep(50);
    }
    throw new Error(`Prometheus was not ready within ${LIMIT} ms:\n${this.log.join('\n')}`);
  }

  async get(what, parameters = {}) {
    const answer = await fetch(`${this.url}/api/v1/${what}?${new URLSearchParams(parameters)}`);
    const { status, error, data } = await answer.json();
    if (status !== 'success') throw new Error(error);
    return data;
  }

  // The current value of an expression: the labels and the value of each series.
  async ask(expr) {
    const { resultType, result } = await this.get('query', { query: expr });
    if (resultType !== 'vector') throw new Error(`it is a ${resultType}, not a vector`);
    return result.map(({ metric, value: [, value] }) => ({ labels: metric, value: Number(value) }));
  }

  async rules() { return (await this.get('rules')).groups.flatMap(({ rules }) => rules); }

  async targets() { return (await this.get('targets')).activeTargets; }

  async stop() {
    if (this.child.exitCode === null && !this.failure) {
      this.child.kill('SIGTERM');
      const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
      await this.ended;
      clearTimeout(timer);
    }
    rmSync(this.data, { recursive: true, force: true });
  }
}
