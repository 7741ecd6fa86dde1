// Orders: one action on all jobs of the list, and the retry and skip of one task.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { inBrowser, violations } from './harness.mjs';

const ALL = 'Change all jobs of the list';

inBrowser('all jobs of a list are changed after their number is confirmed', async ({ page, open, cloud }) => {
  const batch = randomUUID();
  const ids = [];
  for (const number of [1, 2, 3]) {
    const id = await cloud.submit('hello_world', { n: 2, name: `order ${batch} ${number}`, labels: { batch } });
    await cloud.over(id);
    ids.push(id);
  }
  await open(`jobs?label.batch=${batch}`);
  await eventually('the jobs are listed', async () => await page.locator('.jobs tbody tr').count() === 3);
  await page.getByLabel(ALL).selectOption('retry');
  await page.getByText('The filter finds no job to retry.').waitFor();
  await page.getByLabel(ALL).selectOption('resubmit');
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Run again: 3 jobs?').waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Leave it' }).click();
  assert.deepEqual((await cloud.get(`jobs/events/${ids[0]}`)).events.filter(({ kind }) => kind === 'job_resubmitted'), []);
  await page.getByLabel(ALL).selectOption('resubmit');
  await dialog.getByRole('button', { name: 'Run again' }).click();
  await page.getByText('Run again: 3 of 3 jobs').waitFor();
  for (const id of ids) {
    await eventually('it ran again', async () => (await cloud.get(`jobs/events/${id}`)).events.some(({ kind }) => kind === 'job_resubmitted'));
  }
});

inBrowser('a failed task is skipped, and its job goes on without it', async ({ page, open, cloud }) => {
  const { jobs } = await cloud.get('db/jobs?status=failed');
  const job = jobs.find(({ job_type: type, failed }) => type === 'chaos' && failed > 0) ?? jobs.find(({ failed }) => failed > 0);
  await open(`jobs/${job.job_id}?status=failed`);
  await page.locator('.task-row button').first().click();
  await page.getByRole('button', { name: 'Run this task again' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Run again' }).click();
  await page.getByRole('alert').getByText('retry or resubmit the job').waitFor();
  await page.getByRole('button', { name: 'Skip this task' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Skip' }).click();
  await page.getByText('1 task skipped. Retry the job to go on without them.').waitFor();
  const { events } = await cloud.get(`jobs/events/${job.job_id}`);
  assert.ok(events.some(({ kind }) => kind === 'tasks_skipped'));
});
