// A `lastlight local` with its own database, against which the dashboard is tested. Nothing is faked.

import { spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { WORKFLOWS } from './workflows.mjs';

export const required = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run this with scripts/browser-test`);
  return value;
};

const modules = createRequire(path.join(required('LASTLIGHT_BROWSER_MODULES'), 'x'));
export const { chromium } = modules('playwright-core');
export const axeSource = modules('axe-core').source;
const { Client } = modules('pg');

const ROOT = path.resolve(import.meta.dirname, '../..');

// The time after which an event counts as never happening: no result depends on the speed of the machine.
export const LIMIT = 120_000;

export async function eventually(what, check, { within = LIMIT, every = 50 } = {}) {
  const until = Date.now() + within;
  let last;
  while (Date.now() < until) {
    try {
      const value = await check();
      if (value) return value;
    } catch (error) { last = error; }
    await sleep(every);
  }
  throw new Error(`did not happen within ${within} ms: ${what}${last ? `; last: ${last.message}` : ''}`);
}

export async function startCloud() {
  const server = required('LASTLIGHT_TEST_DATABASE_URL');
  const name = `b${randomUUID().replaceAll('-', '')}`;
  const admin = new Client({ connectionString: server });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const databaseUrl = Object.assign(new URL(server), { pathname: `/${name}` }).toString();
  const data = mkdtempSync(path.join(tmpdir(), 'lastlight-browser-'));
  const workflows = path.join(data, 'workflows');
  mkdirSync(workflows);
  for (const [name, text] of Object.entries(WORKFLOWS)) writeFileSync(path.join(workflows, `${name}.yaml`), text);
  const child = spawn(required('LASTLIGHT_BINARY'), ['local', '--json', '--port', '0', '--data', path.join(data, 'data'), '--database-url', databaseUrl], {
    cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'],
    // Enables the job type `chaos`, whose tasks fail and take time on request.
    env: { ...process.env, LASTLIGHT_CHAOS_LEDGER: path.join(data, 'ledger'), LASTLIGHT_WORKFLOWS: workflows },
  });
  const log = [];
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
  const addresses = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line)));
    child.once('exit', (code) => reject(new Error(`lastlight local ended with ${code}:\n${log.join('\n')}`)));
  });
  const cloud = new Cloud(child, addresses, databaseUrl, data, log);
  try {
    await eventually('the app is healthy', () => cloud.get('health').then(({ status }) => status === 'healthy'), { every: 100 });
  } catch (error) {
    await cloud.stop();
    throw new Error(`${error.message}\n${log.join('\n')}`);
  }
  return cloud;
}

class Cloud {
  constructor(child, addresses, databaseUrl, data, log) {
    Object.assign(this, { child, addresses, databaseUrl, data, log, page: `${addresses.url}/api/dashboard` });
  }

  async ask(method, what, body) {
    const answer = await fetch(`${this.addresses.url}/api/${what}`, { method, body: body === undefined ? undefined : JSON.stringify(body) });
    const json = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${what}: ${answer.status} ${JSON.stringify(json)}`);
    return json;
  }

  get(what) { return this.ask('GET', what); }

  async submit(type, parameters) { return (await this.ask('POST', `jobs/submit/${type}`, parameters)).job_id; }

  // Opens the gate: the waiting `chaos` tasks of the jobs with this tag continue.
  openGate(tag) { writeFileSync(path.join(this.data, `ledger.${tag}.open`), ''); }

  over(jobId) {
    return eventually(`job ${jobId} is finished`, async () => {
      const { status } = await this.get(`jobs/status/${jobId}`);
      return ['completed', 'failed', 'cancelled'].includes(status) && status;
    });
  }

  // Sends one message to a queue of the local Service Bus, as another program would.
  async send(queue, text) {
    const parts = Object.fromEntries(this.addresses.service_bus_connection_string.split(';').map((part) => {
      const at = part.indexOf('=');
      return [part.slice(0, at), part.slice(at + 1)];
    }));
    const host = parts.Endpoint.replace('sb://', 'http://');
    const scope = encodeURIComponent(host);
    const expires = Math.floor(Date.now() / 1000) + 600;
    const signature = createHmac('sha256', parts.SharedAccessKey).update(`${scope}\n${expires}`).digest('base64');
    const answer = await fetch(`${host}/${queue}/messages`, {
      method: 'POST', body: text,
      headers: { Authorization: `SharedAccessSignature sr=${scope}&sig=${encodeURIComponent(signature)}&se=${expires}&skn=${parts.SharedAccessKeyName}` },
    });
    if (!answer.ok) throw new Error(`the queue ${queue} rejected the message: ${answer.status} ${await answer.text()}`);
  }

  async sql(text, values) {
    const client = new Client({ connectionString: this.databaseUrl, options: '-c search_path=app' });
    await client.connect();
    try { return await client.query(text, values); } finally { await client.end(); }
  }

  // Inserts a large finished job into the database, with `failed` failed tasks, without running it.
  // The tables have no statistics, as in a new app: no read may depend on statistics.
  async storeJob(jobId, tasks, failed) {
    await this.sql(`INSERT INTO jobs (job_id, job_type, status, stage, total_stages, parameters, error_details, finished_at)
      VALUES ($1, 'hello_world', 'failed', 1, 2, $2, 'too many tasks of stage 1 failed', now())`, [jobId, JSON.stringify({ n: tasks, name: 'night' })]);
    await this.sql(`INSERT INTO stages (job_id, stage, total, completed, failed, plan_cursor, batches, planned_at, advanced_at)
      VALUES ($1, 1, $2, $3, $4, $2, $5, now(), now())`, [jobId, tasks, tasks - failed, failed, Math.ceil(tasks / 100)]);
    await this.sql(`INSERT INTO tasks (parent_job_id, stage, task_id, ordinal, attempt, status, started_at, finished_at, job_type, task_type,
        task_index, batch_id, parameters, result_data, error_details)
      SELECT $1, 1, left($1, 8) || '-s1-greet-' || i, i, CASE WHEN fails THEN 4 ELSE 1 END, CASE WHEN fails THEN 'failed' ELSE 'completed' END::task_status,
        now() - interval '1 second', now(), 'hello_world', 'hello_world_greeting', 'greet-' || i, $1 || '-s1-b' || i / 100,
        json_build_object('task_number', i), CASE WHEN fails THEN NULL ELSE json_build_object('greeting', 'Hello') END,
        CASE WHEN fails THEN 'the blob container went away' END
      FROM (SELECT i, i % ($2 / $3) = 7 AS fails FROM generate_series(0, $2 - 1) AS i) AS made`, [jobId, tasks, failed]);
    await this.sql(`INSERT INTO task_batches (job_id, stage, batch_no, status, task_ids, sends, next_send_at, sent_at)
      SELECT $1, 1, b, 'queued', (SELECT array_agg(left($1, 8) || '-s1-greet-' || i) FROM generate_series(b * 100, b * 100 + 99) AS i), 1, now(), now()
      FROM generate_series(0, $2 / 100 - 1) AS b`, [jobId, tasks]);
  }

  async stop() {
    if (this.child.exitCode === null) {
      const ended = new Promise((resolve) => this.child.once('exit', resolve));
      this.child.kill('SIGTERM');
      const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
    }
    rmSync(this.data, { recursive: true, force: true });
  }
}
