// The page of schedules: what is due next, what became of the last due time, and the actions.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { heading, inBrowser, violations } from './harness.mjs';

inBrowser('a schedule is run now, paused and resumed', async ({ page, open, cloud }) => {
  const name = `nightly-${randomUUID()}`;
  await cloud.ask('POST', 'schedules', {
    name, job_type: 'hello_world', cron: '30 2 29 2 *', time_zone: 'Europe/Berlin', parameters: { n: 3, name: '{{ schedule }} {{ due_at }}' },
  });
  await open('schedules');
  await heading(page, 'Schedules').waitFor();
  const card = page.getByRole('article', { name });
  await card.getByText('30 2 29 2 * Europe/Berlin').waitFor();
  await card.getByText('No due time has passed yet.').waitFor();
  assert.deepEqual(await violations(page), []);

  await card.getByRole('button', { name: 'Run now' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Run now' }).click();
  const job = card.getByRole('link', { name: /^job / }).first();
  await job.waitFor();
  const { runs: [run] } = await cloud.get(`schedules/${name}`);
  assert.equal(await job.getAttribute('href'), `#/jobs/${run.job_id}`);
  assert.equal(await cloud.over(run.job_id), 'completed');
  await page.keyboard.press('r');
  await card.getByText('Completed').first().waitFor();

  await card.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await card.getByText('Paused').waitFor();
  assert.notEqual((await cloud.get(`schedules/${name}`)).schedule.paused_at, null);
  await card.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click();
  await eventually('it is resumed', async () => !await card.getByText('Paused').isVisible());
  await card.getByText('History').click();
  await card.getByText('run now').nth(1).waitFor();
  assert.deepEqual(await violations(page), []);
  await job.click();
  await page.getByRole('heading', { name: 'hello_world' }).waitFor();
});

inBrowser('a schedule of every minute fires at its minute', async ({ page, open, cloud }) => {
  const name = `minute-${randomUUID()}`;
  await cloud.ask('POST', 'schedules', {
    name, job_type: 'hello_world', cron: '* * * * *', parameters: { n: 1, name: '{{ schedule }} {{ due_at }}' },
  });
  const run = await eventually('it fires', async () => {
    const { runs } = await cloud.get(`schedules/${name}`);
    return runs.at(-1);
  }, { every: 250 });
  assert.equal(run.decision, 'submitted');
  assert.equal(new Date(run.due_at).getUTCSeconds(), 0);
  await open('schedules');
  await page.getByRole('article', { name }).getByText('submitted').first().waitFor();
  await cloud.ask('DELETE', `schedules/${name}`);
  await page.keyboard.press('r');
  await page.getByRole('article', { name }).waitFor({ state: 'detached' });
});
