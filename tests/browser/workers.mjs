// The page of workers: queues that nobody serves, workers with what they run.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { heading, inBrowser, violations } from './harness.mjs';

const claim = (cloud, max) => cloud.ask('POST', 'workers/claim', {
  worker_id: 'browser-1', queue: 'browser', handlers: ['raster'], max, wait_seconds: 20,
});

inBrowser('a queue that nobody serves is said, and a worker is shown with what it runs', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('at_workers', { tag: randomUUID() });
  await open('workers');
  await heading(page, 'Workers').waitFor();
  const alarm = page.getByRole('alert').getByText('Nobody serves raster of queue browser');
  await alarm.waitFor();
  await page.getByText('lastlight-worker MODULE:worker --queue browser').waitFor();
  assert.deepEqual(await violations(page), []);
  const { tasks: [task] } = await claim(cloud, 1);
  const named = { job_id: jobId, stage: task.stage, task_id: task.task_id, attempt: task.attempt };
  assert.equal(task.job_id, jobId);
  await cloud.ask('POST', 'workers/heartbeat', {
    worker_id: 'browser-1', tasks: [{ ...named, progress: 0.4, message: 'reading the raster', log_tail: 'opened tile 1\n' }],
  });
  const card = page.getByRole('article', { name: 'browser-1' });
  await card.getByText('40 % · reading the raster').waitFor();
  assert.equal(await alarm.count(), 0, 'it is served now');
  assert.deepEqual(await violations(page), []);
  await card.getByRole('link', { name: 'at_workers' }).click();
  await page.getByRole('button', { name: task.task_id.split('-').at(-1) }).or(page.locator('.task-row button').first()).first().waitFor();
  await eventually('the task is running', async () => {
    await page.locator('.task-row[data-status="processing"] button').first().click();
    return page.getByText('opened tile 1').isVisible();
  }, { every: 500 });
  await page.getByText('browser-1').first().waitFor();
  const outcome = (one) => ({ job_id: jobId, stage: one.stage, task_id: one.task_id, attempt: one.attempt, outcome: 'completed', result: 1 });
  await cloud.ask('POST', 'workers/finish', { worker_id: 'browser-1', outcomes: [outcome(task)] });
  const { tasks } = await claim(cloud, 100);
  await cloud.ask('POST', 'workers/finish', { worker_id: 'browser-1', outcomes: tasks.map(outcome) });
  assert.equal(await cloud.over(jobId), 'completed');
  await open('workers');
  await card.getByText('Runs nothing.').waitFor();
});
