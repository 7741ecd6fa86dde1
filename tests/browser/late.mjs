// Answers that are late, repeated or missing: no old state is shown as new, no action is announced that does not happen,
// and nothing interrupts a user who reads, types or moves the focus.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { heading, hold, inBrowser, PHONE } from './harness.mjs';

const idOf = (text) => createHash('sha256').update(text).digest('hex');
const focused = (page) => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
const slow = (tag) => ({ tag, stages: [{ tasks: 20, rules: [{ every: 1, at: 0, act: 'wait' }] }], use_service_bus: false });

inBrowser('an action is disabled until its result is known', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('chaos', slow('twice'));
  await open(`jobs/${jobId}`);
  const pause = page.getByRole('button', { name: 'Pause', exact: true });
  await pause.click();
  const { release } = await hold(page, '**/api/jobs/status/*', (request) => !request.url().includes('seen='));
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await page.locator('.toast').first().waitFor();
  assert.equal(await pause.isDisabled(), true);
  release();
  await page.getByRole('button', { name: 'Resume', exact: true }).waitFor();
  await eventually('the focus moves to the button that replaced it', async () => await focused(page) === 'Resume');
  // A dialog closes with its page: on another page it would refer to another job.
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('dialog').waitFor();
  await page.evaluate(() => { location.hash = '#/health'; });
  await heading(page, 'Health').waitFor();
  assert.equal(await page.getByRole('dialog').count(), 0);
  // A request without an answer may have succeeded; it is not repeated.
  await page.goto(`${cloud.page}#/jobs/${jobId}`);
  await page.route('**/api/jobs/cancel/*', (route) => route.abort());
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel the job' }).click();
  const said = await page.locator('.toast[data-tone=bad]').textContent();
  assert.match(said, /may or may not have been carried out/);
  assert.doesNotMatch(said, /automatically/);
  await cloud.ask('POST', `jobs/cancel/${jobId}`);
  cloud.openGate('twice');
});

inBrowser('tasks: only the page requested last is shown', async ({ page, open, cloud }) => {
  const jobId = idOf('three hundred tasks');
  await cloud.storeJob(jobId, 300, 3);
  await open(`jobs/${jobId}?tab=results`);
  await page.getByText('The job’s result').waitFor();
  await page.getByRole('tab', { name: 'Tasks' }).click();
  const rows = page.locator('.task-row');
  await rows.nth(49).waitFor();
  const held = await hold(page, '**/api/db/tasks/*', (request) => request.url().includes('cursor='));
  const on = page.getByRole('button', { name: 'Next page' });
  await on.click();
  await on.click();
  // Then another request, before the first answer arrives.
  await page.locator('.task-list .choice').getByText('Failed', { exact: true }).click();
  await eventually('the failed tasks are shown', async () => await rows.count() === 3);
  held.release();
  await page.unroute('**/api/db/tasks/*');
  await page.locator('.task-list .choice').getByText('All, failed first').click();
  await page.getByText('Page 1 · 50 tasks').waitFor();
  const again = await hold(page, '**/api/db/tasks/*', (request) => request.url().includes('cursor='));
  await on.click();
  await on.click();
  again.release();
  await page.getByText('Page 2 · 50 tasks').waitFor();
});

inBrowser('tasks: an open task stays open when it changes', async ({ page, open, cloud }) => {
  const jobId = idOf('read in peace');
  await cloud.storeJob(jobId, 100, 1);
  await open(`jobs/${jobId}?status=completed`);
  const row = page.locator('.task-group', { has: page.getByRole('button', { name: 'greet-42', exact: true }) });
  await row.getByRole('button', { name: 'greet-42', exact: true }).click();
  const copy = row.getByRole('button', { name: 'Copy the task id' });
  await copy.focus();
  const change = (what) => cloud.sql(`UPDATE tasks SET ${what} WHERE parent_job_id = $1 AND task_index = 'greet-42'`, [jobId]);
  await change('attempt = 3, retry_count = 2');
  await page.keyboard.press('r');
  await row.getByText('3, 2 repeats').waitFor();
  assert.equal(await focused(page), 'Copy the task id');
  await change(`status = 'failed', error_details = 'the computation failed'`);
  await page.keyboard.press('r');
  await row.getByText('This task no longer matches this page.').waitFor();
  assert.equal(await focused(page), 'Copy the task id');
  // In the list of all tasks it moves to the top and keeps the focus.
  await page.locator('.task-list .choice').getByText('All, failed first').click();
  await page.locator('.task-row').nth(49).waitFor();
  await change(`status = 'completed', error_details = NULL`);
  await page.keyboard.press('r');
  await eventually('it is listed with the completed tasks', async () => await row.locator('.badge').textContent() === 'Completed');
  const opener = row.getByRole('button', { name: 'greet-42', exact: true });
  await opener.focus();
  await change(`status = 'failed', error_details = 'the computation failed'`);
  await page.keyboard.press('r');
  await eventually('it is among the first tasks', async () => (await page.locator('.task-row button').allTextContents()).slice(0, 2).includes('greet-42'));
  assert.equal(await focused(page), 'greet-42');
});

inBrowser('jobs: older pages follow the filter and are refreshed', async ({ page, open, cloud }) => {
  await cloud.sql(`INSERT INTO jobs (job_id, job_type, status, total_stages, parameters, created_at, finished_at)
    SELECT encode(sha256(('past' || i)::bytea), 'hex'), 'hello_world', 'cancelled', 2, '{"n": 1}', now() - interval '5 days' - i * interval '1 minute', now()
    FROM generate_series(1, 120) AS i`);
  await cloud.storeJob(idOf('one that failed'), 100, 1);
  await open('jobs?status=cancelled');
  const rows = page.locator('.jobs tbody tr');
  await rows.nth(49).waitFor();
  const held = await hold(page, '**/api/db/jobs?*', (request) => request.url().includes('cursor='));
  await page.getByRole('button', { name: 'Older jobs' }).click();
  await eventually('the request is sent', () => held.held.length > 0);
  await page.getByText('Failed', { exact: true }).first().click();
  await page.locator('.jobs tbody tr[data-status=failed]').first().waitFor();
  held.release();
  await page.unroute('**/api/db/jobs?*');
  await page.keyboard.press('r');
  await page.waitForResponse('**/api/db/jobs?*');
  assert.equal(await page.locator('.jobs tbody tr[data-status=cancelled]').count(), 0);
  await page.getByText('Cancelled', { exact: true }).first().click();
  await page.locator('.jobs tbody tr[data-status=cancelled]').nth(49).waitFor();
  await page.getByRole('button', { name: 'Older jobs' }).click();
  await rows.nth(99).waitFor();
  const ids = await page.locator('.jobs .row-link').evaluateAll((links) => links.map((link) => link.hash.split('/').at(-1)));
  await cloud.sql(`UPDATE jobs SET status = 'completed' WHERE job_id = $1`, [ids[3]]);
  await cloud.sql(`UPDATE jobs SET error_details = 'seen late' WHERE job_id = $1`, [ids[70]]);
  await page.keyboard.press('r');
  await page.getByText('seen late').waitFor();
  assert.equal(await page.locator(`a[href="#/jobs/${ids[3]}"]`).count(), 0);
});

inBrowser('jobs: an empty list names its period, keeps the focus', async ({ page, open }) => {
  await page.route('**/api/db/jobs?*', (route) => route.fulfill({ json: { jobs: [], query_info: { next_cursor: null } } }));
  await open('jobs?hours=1');
  await page.getByText('No jobs in the last hour').waitFor();
  await page.locator('.empty a').focus();
  const answered = page.waitForResponse('**/api/db/jobs?*');
  await page.keyboard.press('r');
  await answered;
  await page.waitForTimeout(50);
  assert.equal(await focused(page), 'Submit a job');
});

inBrowser('a pending request is repeated if the network changes', async ({ page, open }) => {
  await open('jobs');
  await page.locator('.jobs .row-link').first().waitFor();
  const { held, release } = await hold(page, '**/api/db/jobs?*');
  await page.keyboard.press('r');
  await eventually('the request is sent', () => held.length > 0);
  const before = held.length;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await eventually('the request is sent again', () => held.length > before);
  release();
});

inBrowser('keys: a refresh keeps the input, the key is sent once', async ({ page, open }) => {
  await page.route('**/api/db/**', (route) => route.fulfill({ status: 401, body: '' }));
  await open('jobs');
  await page.getByLabel('Function key').fill('half a k');
  // The user switches to the password manager and back.
  const answered = page.waitForResponse('**/api/db/jobs?*');
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await answered;
  await page.waitForTimeout(50);
  assert.equal(await page.getByLabel('Function key').inputValue(), 'half a k');
  await page.keyboard.press('Enter');
  await page.getByText('The key was rejected.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.type), 'password', 'the field has the focus for the next attempt');
  // In the form for a job it is a nested form.
  await open('submit/hello_world');
  const sent = [];
  await page.route('**/api/jobs/submit/*', (route) => {
    sent.push(route.request().headers()['x-functions-key']);
    return sent.at(-1) === 'a-key' ? route.fallback() : route.fulfill({ status: 401, body: '' });
  });
  await page.getByLabel(/^n /).fill('3');
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByLabel('Function key').fill('a-key');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/jobs\/[0-9a-f]{64}$/);
  assert.deepEqual(sent.slice(1), ['a-key']);
});

inBrowser('submit: the form waits for the app, and reports late errors', async ({ page, open }) => {
  await page.route('**/api/jobs/types', (route) => route.abort());
  await open('submit/hello_world');
  await page.getByText('It is retried automatically.', { exact: true }).waitFor();
  await page.unroute('**/api/jobs/types');
  await page.getByLabel(/^n /).fill('3');
  // No other request runs on this page: the page still checks whether the connection is back.
  await page.route('**/api/jobs/submit/*', (route) => route.abort(), { times: 1 });
  await page.getByText('Connected again.').waitFor();
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('Submitting it again is safe').waitFor();
  await page.getByText('Connected again.').waitFor();
  await page.locator('.lost').waitFor({ state: 'detached' });
  let refuse;
  await page.route('**/api/jobs/submit/*', async (route) => {
    await new Promise((resolve) => { refuse = resolve; });
    await route.fulfill({ status: 503, json: { error: 'unavailable', message: 'the database is away' } });
  });
  await page.getByRole('button', { name: 'Submit' }).click();
  await eventually('the request is sent', () => refuse);
  await page.keyboard.press('Escape');
  await page.evaluate(() => { location.hash = '#/jobs'; });
  await heading(page, 'Jobs').waitFor();
  refuse();
  await page.getByRole('alert').getByText('Submitting hello_world failed. the database is away').waitFor();
});

inBrowser('health: a refresh keeps scroll position and focus', PHONE, async ({ page, open }) => {
  let rounds = 0;
  await page.route('**/api/health', async (route) => {
    const response = await route.fetch();
    const answer = await response.json();
    rounds += 1;
    for (const instance of answer.components.instances.instances) instance.started_at = new Date(rounds * 1e9).toISOString();
    await route.fulfill({ response, json: answer });
  });
  await open('health');
  const table = page.getByRole('article', { name: 'Processes' }).locator('.scroll').first();
  await table.evaluate((node) => {
    node.scrollLeft = 60;
    node.focus();
    node.dataset.old = 'yes';
  });
  await page.keyboard.press('r');
  await eventually('the table was drawn again', async () => await table.getAttribute('data-old') === null);
  assert.equal(await table.evaluate((node) => node.scrollLeft), 60);
  assert.equal(await table.evaluate((node) => node === document.activeElement), true);
});
