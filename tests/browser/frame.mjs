// Appearance, accessibility and connection: colours, narrow screens, screen readers, keys, and an unreachable app.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { heading, inBrowser, PHONE, violations } from './harness.mjs';

const luminance = (page) => page.evaluate(() => {
  const [red, green, blue] = getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number);
  return (red + green + blue) / 3;
});

inBrowser('colours follow the system until the user chooses', { colorScheme: 'dark' }, async ({ page, open }) => {
  await open('jobs');
  await heading(page, 'Jobs').waitFor();
  assert.ok(await luminance(page) < 40);
  await page.getByRole('button', { name: 'Light colours' }).click();
  assert.ok(await luminance(page) > 220);
  await page.reload();
  await heading(page, 'Jobs').waitFor();
  assert.ok(await luminance(page) > 220, 'the choice survives a reload');
  await page.keyboard.press('t');
  assert.ok(await luminance(page) < 40);
});

const LONG = 'a_name_as_long_as_the_columns_of_the_tables_take_it'.slice(0, 49);

async function everyView(page, open, cloud, look) {
  const { jobs: [job] } = await cloud.get('db/jobs?status=failed');
  await cloud.ask('POST', 'workers/claim', { worker_id: `w${LONG}`, queue: `q${LONG}`, handlers: [`h${LONG}`], max: 1 });
  await cloud.ask('POST', 'schedules', {
    name: `s${LONG}.${LONG}`, job_type: 'hello_world', cron: '0 0 29 2 *', time_zone: 'America/Argentina/ComodRivadavia', parameters: { n: 1, name: '{{ due_at }}' },
  });
  // A view and something that it shows only once its data is there.
  const views = [['jobs', '.jobs .row-link'], [`jobs/${job.job_id}`, '.task-row button'], ['submit/hello_world', 'form textarea, form input'],
    ['compare', '.charts, .chart-empty'], ['workers', '.workers article'], ['schedules', '.schedules article'], ['poison', '.queue'], ['health', '.component']];
  for (const [view, data] of views) {
    await open(view);
    await page.locator('main h1').waitFor();
    await page.locator(data).first().waitFor();
    await page.waitForLoadState('networkidle').catch(() => {});
    if (view.includes('/') && view.startsWith('jobs')) await page.locator('.task-row button').first().click();
    await look(view);
  }
}

inBrowser('no view is wider than the screen of a phone', PHONE, async ({ page, open, cloud }) => {
  const jobId = createHash('sha256').update('long names').digest('hex');
  await cloud.storeJob(jobId, 100, 2);
  await cloud.sql(`UPDATE jobs SET job_type = $2::text, error_details = repeat($2, 20), parameters = json_build_object($2::text, repeat($2, 5)) WHERE job_id = $1`, [jobId, LONG]);
  await cloud.sql(`UPDATE tasks SET task_type = $2::text, task_index = left(task_index || $2, 50), error_details = repeat($2, 20) WHERE parent_job_id = $1`, [jobId, LONG]);
  await everyView(page, open, cloud, async (view) => {
    // The width of the screen: a wider page makes the window wider on a phone.
    const [wanted, there] = [await page.evaluate(() => document.documentElement.scrollWidth), PHONE.viewport.width];
    assert.ok(wanted <= there, `${view} is ${wanted} wide on a screen of ${there}`);
  });
});

for (const colorScheme of ['light', 'dark']) {
  inBrowser(`axe finds no serious violation (${colorScheme})`, { colorScheme }, async ({ page, open, cloud }) => {
    await everyView(page, open, cloud, async (view) => {
      assert.deepEqual(await violations(page), [], view);
    });
  });
}

inBrowser('a key is requested, kept for the tab, sent only in the header', async ({ page, open, window }) => {
  const seen = [];
  await window.route('**/api/**', async (route) => {
    const request = route.request();
    seen.push(request.url());
    const isOpen = /\/api\/(dashboard|health)/.test(request.url());
    const wanted = request.url().includes('monitor/poison') ? ['the-master-key'] : ['a-function-key', 'the-master-key'];
    if (isOpen || wanted.includes(request.headers()['x-functions-key'])) return route.continue();
    return route.fulfill({ status: 401, body: '' });
  });
  await open('jobs');
  await page.getByText('The app requires a key.').waitFor();
  await page.getByLabel('Function key').fill('wrong');
  await page.getByRole('button', { name: 'Use key' }).click();
  await page.getByText('The key was rejected.').waitFor();
  await page.getByLabel('Function key').fill('a-function-key');
  await page.keyboard.press('Enter');
  await page.locator('.jobs .row-link').first().waitFor();
  const types = page.getByLabel('Job type').locator('option');
  await eventually('the filter lists the job types', async () => await types.count() > 1);
  await page.reload();
  await page.locator('.jobs .row-link').first().waitFor();
  // A function key is not sufficient for this view.
  await open('poison');
  await page.getByText('The key was rejected.').waitFor();
  await page.getByLabel('Master key').fill('the-master-key');
  await page.getByRole('button', { name: 'Use key' }).click();
  await page.getByRole('article', { name: 'sb-poison' }).waitFor();
  assert.ok(seen.every((url) => !url.includes('key')), 'no key in an address');
  assert.equal(await page.evaluate(() => Object.values(localStorage).join().includes('key')), false);
  const other = await window.newPage();
  await other.goto(page.url());
  await other.getByText('The app requires a key.').waitFor();
  await other.close();
  await page.getByRole('button', { name: 'Forget the keys' }).click();
  await page.getByText('The app requires a key.').waitFor();
});

inBrowser('a lost connection is reported and retried', async ({ page, open, window }) => {
  await open('jobs');
  await page.locator('.jobs .row-link').first().waitFor();
  await window.setOffline(true);
  await page.keyboard.press('r');
  await page.getByText('The connection to the app is lost.').waitFor();
  assert.ok(await page.locator('.jobs .row-link').count() > 0, 'the list stays visible');
  await window.setOffline(false);
  await page.getByText('Connected again.').waitFor();
  await page.locator('.lost').waitFor({ state: 'detached' });
});

inBrowser('a 502 of the host is shown as a lost connection', async ({ page, open }) => {
  await open('jobs');
  await page.locator('.jobs .row-link').first().waitFor();
  await page.route('**/api/db/jobs*', (route) => route.fulfill({ status: 502, body: 'the handler did not answer' }));
  await page.keyboard.press('r');
  await page.getByText('The connection to the app is lost.').waitFor();
  await page.unroute('**/api/db/jobs*');
  await page.getByText('Connected again.').waitFor();
});

inBrowser('a missing endpoint is shown as a note, not an error', async ({ page, open }) => {
  await page.route('**/api/metrics/comparison*', (route) => route.fulfill({
    status: 404, contentType: 'application/json', body: JSON.stringify({ error: 'not found', message: 'there is no such thing' }),
  }));
  await open('compare');
  await page.getByRole('note').getByText('Not available here').waitFor();
  assert.equal(await page.getByRole('alert').count(), 0);
});

inBrowser('a hidden tab sends no requests', async ({ page, open }) => {
  await page.clock.install();
  await open('jobs');
  await page.locator('.jobs .row-link').first().waitFor();
  let asked = 0;
  page.on('request', (request) => { if (request.url().includes('/api/db/')) asked += 1; });
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  asked = 0;
  // Moves the page's clock by an hour and stops it: later requests did not wait for a timer.
  await page.clock.runFor('01:00:00');
  assert.equal(asked, 0);
  await page.clock.pauseAt(await page.evaluate(() => Date.now() + 1));
  await hide(false);
  await eventually('it sends a request at once', () => asked > 0);
});

inBrowser('paths are compared, or missing data is reported', async ({ page, open, cloud, context }) => {
  for (const use_service_bus of [true, false]) {
    await cloud.over(await cloud.submit('hello_world', { n: 40, name: 'to be compared', use_service_bus }));
  }
  await open('compare');
  await page.getByRole('img', { name: /^Throughput/ }).waitFor();
  await page.getByRole('img', { name: /^Cost/ }).waitFor();
  await page.getByRole('table', { name: 'All metrics' }).waitFor();
  const { comparison } = await cloud.get('metrics/comparison');
  if (comparison.note) await page.getByText('not enough data').first().waitFor();
  else await page.locator('.tile-value', { hasText: '%' }).first().waitFor();
});

inBrowser('workers are compared once they have run tasks', async ({ page, open }) => {
  const path = (tasks) => ({ jobs_processed: 1, tasks_processed: tasks, tasks_per_second: 10, job_ms: { p50: 1, p95: 2, p99: 3, samples: 1 } });
  let tasks = 0;
  await page.route('**/api/metrics/comparison*', (route) => route.fulfill({
    contentType: 'application/json', body: JSON.stringify({
      queue_storage: path(5), service_bus: path(5), worker: path(tasks),
      comparison: { latency_improvement: 1, throughput_improvement: 1, timeout_reduction: null, note: null },
    }),
  }));
  await open('compare');
  const column = page.getByRole('columnheader', { name: 'Workers' });
  await page.getByRole('columnheader', { name: 'Service Bus' }).waitFor();
  assert.equal(await column.count(), 0);
  tasks = 7;
  await page.keyboard.press('r');
  await column.waitFor();
  assert.equal(await page.locator('.legend').first().textContent(), 'Storage QueueService BusWorkers');
});

inBrowser('missing data is reported, and no number is invented', async ({ page, open }) => {
  const nothing = { jobs_processed: 0, tasks_processed: 0, tasks_per_second: null, cost_per_million_tasks: null, job_ms: { p50: null, p95: null, p99: null, samples: 0 } };
  await page.route('**/api/metrics/comparison*', (route) => route.fulfill({
    contentType: 'application/json', body: JSON.stringify({
      queue_storage: nothing, service_bus: nothing,
      comparison: { latency_improvement: null, throughput_improvement: null, timeout_reduction: null, note: 'not enough data: no job over either path' },
    }),
  }));
  await open('compare');
  await page.getByText('Not enough data: no job over either path').waitFor();
  assert.deepEqual(await page.locator('.tile-value').allTextContents(), Array(3).fill('not enough data'));
  assert.doesNotMatch(await page.locator('.charts').textContent(), /\d/);
});

inBrowser('health lists the components that are healthy', async ({ page, open, cloud }) => {
  const { components } = await cloud.get('health');
  await open('health');
  await page.getByText('All components are healthy').waitFor();
  assert.equal(await page.locator('.component').count(), Object.keys(components).length);
  await page.getByRole('article', { name: 'PostgreSQL' }).getByText('healthy').waitFor();
  const processes = page.getByRole('article', { name: 'Processes' });
  await processes.getByText(/^\d+ of 8 in use$/).first().waitFor();
  assert.doesNotMatch(await page.locator('.components').textContent(), /[{}]/);
});
