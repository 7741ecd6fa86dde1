// The list of jobs and one job: failures, control, size, and data that looks like markup.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { heading, inBrowser } from './harness.mjs';

const chaos = (tag, tasks, rules) => ({ tag, stages: [{ tasks, rules }], use_service_bus: false });
// All but the first of ten tasks wait until the test opens the job's gate.
const waiting = Array.from({ length: 9 }, (_, at) => ({ every: 10, at: at + 1, act: 'wait' }));

inBrowser('failed tasks come first, with reason and attempt', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('chaos', chaos('reasons', 8, [{ every: 1000, at: 5, act: 'fail' }]));
  assert.equal(await cloud.over(jobId), 'failed');
  await open('jobs?status=failed');
  const row = page.locator('.jobs tbody tr', { has: page.locator(`a[href="#/jobs/${jobId}"]`) });
  await row.getByText('1 failed', { exact: true }).waitFor();
  await row.getByRole('link').click();
  await page.getByText('Why it failed', { exact: true }).first().waitFor();
  const first = page.locator('.task-row').first();
  await first.locator('.badge', { hasText: 'Failed' }).waitFor();
  const { tasks: [task] } = await cloud.get(`db/tasks/${jobId}?status=failed`);
  assert.equal(await first.locator('.outcome').textContent(), task.error_details.split('\n')[0]);
  assert.equal(await first.locator('td[data-name=Attempt]').textContent(), String(task.attempt));
  await first.getByRole('button').click();
  await page.locator('.task-detail .error-text', { hasText: task.error_details }).waitFor();
  assert.match(await page.locator('.task-detail .json').first().textContent(), /"number": 5/);
  // Only failed tasks, and the address contains the filter.
  await page.locator('.task-list .choice').getByText('Failed', { exact: true }).click();
  await eventually('one row remains', async () => await page.locator('.task-row').count() === 1);
  assert.match(page.url(), /\?status=failed$/);
  await page.reload();
  await eventually('the address restores the filter', async () => await page.locator('.task-row').count() === 1);
});

inBrowser('a job is cancelled after confirmation, and retried', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('chaos', chaos('control', 40, waiting));
  await open(`jobs/${jobId}`);
  const state = (name) => page.locator('.view-head .badge', { hasText: name });
  await state('Processing').waitFor();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Cancel this chaos job?' });
  await dialog.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Leave it', 'the harmless button has the focus');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal((await cloud.get(`jobs/status/${jobId}`)).status, 'processing');
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await dialog.getByRole('button', { name: 'Cancel the job' }).click();
  await state('Cancelled').waitFor();
  await page.getByText('The job was cancelled', { exact: true }).waitFor();
  // Skipped tasks do not count as done.
  const { progress: [{ completed, failed, skipped, total }] } = await cloud.get(`jobs/status/${jobId}`);
  assert.ok(skipped > 0);
  await page.locator('.figures').getByText(`${completed + failed} / ${total}`, { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Retry' }).click();
  await eventually('the job runs again', async () => (await state('Processing').count()) + (await state('Queued').count()) > 0);
  await cloud.ask('POST', `jobs/cancel/${jobId}`);
  // Changes by other clients appear too.
  await state('Cancelled').waitFor();
  cloud.openGate('control');
});

inBrowser('a job is paused and resumed', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('chaos', {
    tag: 'pause', use_service_bus: false, stages: [{ tasks: 40, rules: waiting }, { tasks: 2 }],
  });
  await open(`jobs/${jobId}`);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await page.getByText(/The job (will be|is) paused/).first().waitFor();
  cloud.openGate('pause');
  await page.locator('.view-head .badge', { hasText: 'Paused' }).waitFor();
  await page.locator('.stages li').nth(1).getByText('not started', { exact: true }).waitFor();
  assert.equal(await page.locator('.stages').getByText('planning').count(), 0);
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
});

inBrowser('data that looks like markup is shown as text', async ({ page, window, open, cloud }) => {
  const name = '<img src=x onerror="window.wasHit=1"><script>window.wasHit=1</script>';
  const jobId = await cloud.submit('hello_world', { n: 1, name });
  await cloud.over(jobId);
  await open('jobs');
  await page.locator(`a[href="#/jobs/${jobId}"]`).waitFor();
  assert.ok((await page.locator('.jobs .gist').allTextContents()).some((text) => text.includes(name.slice(0, 100))), 'it is shown unchanged');
  await page.locator(`a[href="#/jobs/${jobId}"]`).click();
  await page.locator('.task-row').first().getByRole('button').click();
  await page.locator('.task-detail .json', { hasText: '<img' }).first().waitFor();
  for (const tab of ['Parameters', 'Results']) {
    await page.getByRole('tab', { name: tab }).click();
    await page.locator('[role=tabpanel]:not([hidden]) .json', { hasText: '<img' }).first().waitFor();
  }
  await page.goto(`${cloud.page}#/${encodeURIComponent(name)}`);
  await page.goto(`${cloud.page}#/submit/${encodeURIComponent(name)}`);
  await page.getByText(`There is no job type ${name}`).waitFor();
  await page.goto(`${cloud.page}#/jobs/${encodeURIComponent(name)}`);
  await page.getByRole('alert').waitFor();
  assert.equal(await page.evaluate(() => window.wasHit), undefined);
  assert.equal(await page.locator('main img, main script').count(), 0);
  // The browser would also refuse such markup if it were not escaped. In a separate page, since this logs an error.
  const other = await window.newPage();
  await other.goto(cloud.page);
  const refusal = await other.evaluate(() => {
    try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch (error) { return error.name; }
  });
  assert.equal(refusal, 'TypeError');
});

// `lastlight bench reads` measures how long this takes.
inBrowser('a job of 100,000 tasks: few requests and small pages', async ({ page, open, cloud }) => {
  const jobId = createHash('sha256').update('a long night').digest('hex');
  await cloud.storeJob(jobId, 100_000, 25);
  const answers = [];
  page.on('response', (response) => { if (/\/api\/(jobs|db)\//.test(response.url())) answers.push(response); });
  await open(`jobs/${jobId}`);
  await page.locator('.task-row').nth(49).waitFor();
  const asked = [...answers];
  const names = asked.map((answer) => new URL(answer.url()).pathname);
  assert.ok(asked.length <= 3, `two or three requests, not ${names}`);
  assert.equal(new Set(asked.map((answer) => answer.url())).size, asked.length, `no request is sent twice: ${names}`);
  const bodies = await Promise.all(asked.map((answer) => answer.body()));
  const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
  assert.ok(bytes < 150_000, `${bytes} bytes`);
  const pages = bodies.map((body) => JSON.parse(body)).filter(({ tasks }) => tasks);
  assert.ok(pages.length > 0);
  for (const { tasks, query_info: { scanned } } of pages) assert.ok(tasks.length <= 50 && scanned <= 100, `${scanned} rows were scanned for ${tasks.length}`);
  assert.equal(await page.locator('.task-row').count(), 50);
  const badges = () => page.locator('.task-row .badge').allTextContents();
  assert.deepEqual((await badges()).slice(0, 26), [...Array(25).fill('Failed'), 'Completed']);
  for (let turn = 2; turn <= 4; turn += 1) {
    await page.getByRole('button', { name: 'Next page' }).click();
    await page.getByText(`Page ${turn} · 50 tasks`).waitFor();
    assert.equal(await page.locator('.task-row').count(), 50);
    assert.ok(!(await badges()).includes('Failed'), 'no failed task is shown twice');
  }
  for (let turn = 3; turn >= 1; turn -= 1) {
    await page.getByRole('button', { name: 'Back one page' }).click();
    await page.getByText(`Page ${turn} · 50 tasks`).waitFor();
  }
  assert.equal((await badges())[0], 'Failed');
});

inBrowser('older jobs load in pages, new jobs appear automatically', async ({ page, open, cloud }) => {
  await cloud.sql(`INSERT INTO jobs (job_id, job_type, status, total_stages, parameters, created_at, finished_at)
    SELECT encode(sha256(('old' || i)::bytea), 'hex'), 'hello_world', 'cancelled', 2, '{"n": 1}', now() - interval '3 days' - i * interval '1 minute', now()
    FROM generate_series(1, 120) AS i`);
  await open('jobs?status=cancelled');
  const rows = page.locator('.jobs tbody tr');
  await rows.nth(49).waitFor();
  assert.equal(await rows.count(), 50);
  await page.getByRole('button', { name: 'Older jobs' }).click();
  await rows.nth(99).waitFor();
  const shown = await page.locator('.jobs .row-link').evaluateAll((links) => links.map(({ href }) => href));
  assert.equal(new Set(shown).size, shown.length, 'no job is listed twice');
  await open('jobs');
  await heading(page, 'Jobs').waitFor();
  await rows.first().waitFor();
  const jobId = await cloud.submit('hello_world', { n: 3, name: 'by itself' });
  await page.locator(`a[href="#/jobs/${jobId}"]`).waitFor();
});

inBrowser('a number is shown with all its digits', async ({ page, open, cloud }) => {
  const jobId = createHash('sha256').update('digits').digest('hex');
  await cloud.storeJob(jobId, 100, 1);
  await cloud.sql(`UPDATE jobs SET parameters = '{"tile": 9007199254740993, "list": [12345678901234567890]}' WHERE job_id = $1`, [jobId]);
  await open(`jobs/${jobId}?tab=parameters`);
  await page.getByText('tile 9007199254740993 · list [1]').waitFor();
  await page.locator('.json', { hasText: '"tile": 9007199254740993' }).waitFor();
  await page.locator('.json', { hasText: '12345678901234567890' }).waitFor();
});

inBrowser('an unknown job is reported as such', async ({ page, open }) => {
  await open(`jobs/${'0'.repeat(64)}`);
  await page.getByRole('alert').getByText('there is no job').waitFor();
});
