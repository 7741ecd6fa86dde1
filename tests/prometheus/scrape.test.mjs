// A real app, scraped by a real Prometheus: its answer, every panel of the dashboard, every alert.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { eventually, LIMIT, startCloud } from '../browser/cloud.mjs';
import { alerts, dashboard, promtool } from './files.mjs';
import { startPrometheus } from './server.mjs';

// The values that Grafana inserts for a range of some hours: a window that still contains the jobs on a slow machine.
const VARIABLES = { __rate_interval: '5m', __interval: '15s', __range: '3h' };

// Tasks of both paths failed. Nothing else is wrong, so any other alert would be false.
const RAISED = { LastlightTasksFail: ['queue_storage chaos', 'service_bus chaos'] };

const world = { cloud: null, prometheus: null };

// If a scrape is late on a busy machine, the next one compensates for it.
const soon = (what, check) => eventually(what, check, { every: 250 });

const sweep = async () => {
  const answer = await fetch(`${world.cloud.addresses.url}/admin/functions/reconcile`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}',
  });
  assert.ok(answer.ok, `reconcile: ${answer.status}`);
};

const shows = (what, expr, value) => eventually(`Prometheus sees ${what}`, async () => {
  const [first] = await world.prometheus.ask(expr);
  if (first === undefined) throw new Error(`${expr} has no result`);
  if (first.value < value) throw new Error(`${expr} is ${first.value}`);
  return true;
});

// Over each path one job that completes and one that fails, then a sweep, which counts them.
async function runJobs(tag, n) {
  const jobs = await Promise.all([false, true].flatMap((use_service_bus) => [
    world.cloud.submit('hello_world', { n, name: tag, use_service_bus }),
    world.cloud.submit('chaos', { tag, use_service_bus, stages: [{ tasks: n, ms: 0, rules: [{ every: 4, at: 1, act: 'fail' }] }] }),
  ]));
  const ends = await Promise.all(jobs.map((job) => world.cloud.over(job)));
  assert.deepEqual(ends, ['completed', 'failed', 'completed', 'failed']);
  await sweep();
}

before(async () => {
  world.cloud = await startCloud();
  world.prometheus = await startPrometheus(world.cloud.addresses.url);
  // Rates measure the increase of a series: the first jobs start the series.
  await runJobs('first', 8);
  await shows('the first jobs', 'sum(lastlight_jobs_ended_total)', 4);
  await runJobs('second', 40);
  await shows('the second jobs', 'sum(lastlight_jobs_ended_total)', 8);
  // A job that stays open.
  await world.cloud.submit('chaos', { tag: 'open', use_service_bus: false, stages: [{ tasks: 4, ms: 600_000 }] });
  await shows('the open job', 'sum(lastlight_open_stage_tasks{status="open"})', 4);
  await shows('its tasks', 'max(lastlight_instances_tasks_running)', 4);
}, { timeout: 5 * LIMIT });

after(async () => {
  await world.prometheus?.stop();
  await world.cloud?.stop();
});

test('the app is up for Prometheus', async () => {
  await soon('its only target is up', async () => {
    const targets = await world.prometheus.targets();
    assert.equal(targets.map(({ health, lastError }) => `${health}${lastError}`).join(), 'up');
    return true;
  });
});

test('promtool accepts the answer', async () => {
  const answer = await fetch(`${world.cloud.addresses.url}/api/metrics`);
  assert.equal(answer.status, 200);
  const { status, said } = promtool(['check', 'metrics'], await answer.text());
  assert.equal(said, '');
  assert.equal(status, 0);
});

const filled = (expr) => expr.replace(/\$\{?(\w+)\}?/g, (whole, name) => {
  const value = VARIABLES[name];
  assert.ok(value, `${whole} is a variable that this test does not know`);
  return value;
});

// Each query must have a result: a few jobs and a sweep are enough for all of them.
async function hasFigures({ expr, legendFormat = '' }) {
  const found = await world.prometheus.ask(filled(expr));
  assert.ok(found.length, 'the query has no result');
  const odd = found.filter(({ value }) => !Number.isFinite(value));
  assert.equal(odd.length, 0, `not a number: ${odd.map(({ labels, value }) => `${JSON.stringify(labels)} ${value}`).join(', ')}`);
  for (const [, label] of legendFormat.matchAll(/\{\{ *(\w+) *\}\}/g)) {
    assert.ok(found.every(({ labels }) => label in labels), `its legend uses the label ${label}, which a series does not have`);
  }
  return true;
}

for (const { id, title, targets = [] } of dashboard().panels) {
  test(`panel ${id}, ${title}`, async () => {
    assert.ok(targets.length, 'the panel has no query');
    for (const target of targets) {
      await soon(`panel ${id}, ${title}, has values in query ${target.refId}, ${target.expr}`, () => hasFigures(target));
    }
  });
}

for (const name of alerts()) {
  test(`alert ${name}`, async () => {
    const raised = RAISED[name] ?? [];
    await soon(`${name} finds ${raised.length ? raised : 'nothing'}`, async () => {
      const rule = (await world.prometheus.rules()).find((one) => one.name === name);
      assert.equal(rule?.health, 'ok', rule?.lastError || 'Prometheus has not evaluated it yet');
      const found = await world.prometheus.ask(rule.query);
      const whose = found.map(({ labels: { path, job_type } }) => `${path} ${job_type}`).sort();
      assert.equal(`${whose}`, `${raised}`, `${rule.query} is ${JSON.stringify(found)}`);
      // Alerts with a waiting time must not be pending either.
      assert.equal(rule.state, raised.length ? 'firing' : 'inactive', `it is ${rule.state}`);
      return true;
    });
  });
}

test('each recording rule is evaluated', async () => {
  const recorded = (await world.prometheus.rules()).filter(({ type }) => type === 'recording');
  assert.ok(recorded.length);
  for (const { name, health, lastError } of recorded) {
    assert.equal(health, 'ok', `${name}: ${lastError}`);
    assert.ok((await world.prometheus.ask(name)).length, `${name} has no result`);
  }
});
