// The search for jobs: by labels, parameters and the beginning of a word, with its state in the address.

import assert from 'node:assert/strict';

import { eventually } from './cloud.mjs';
import { inBrowser, PHONE } from './harness.mjs';

const hello = (name, labels) => ({ n: 1, name, labels });

inBrowser('jobs are found by labels, and the address is shared', async ({ page, open, window, cloud }) => {
  const roads = await cloud.submit('hello_world', hello('first', { team: 'find-roads', run: '1' }));
  const other = await cloud.submit('hello_world', hello('second', { team: 'find-rivers', run: '1' }));
  const row = (jobId) => page.locator(`.jobs a[href="#/jobs/${jobId}"]`);
  await open('jobs');
  await row(roads).waitFor();
  const field = page.getByRole('searchbox', { name: 'Find jobs' });
  await field.fill('team=find-roads');
  await field.press('Enter');
  await row(other).waitFor({ state: 'detached' });
  await row(roads).waitFor();
  assert.match(page.url(), /#\/jobs\?label\.team=find-roads$/);
  // Another user opens the address.
  const second = await window.newPage();
  await second.goto(page.url());
  await second.locator(`.jobs a[href="#/jobs/${roads}"]`).waitFor();
  assert.equal(await second.locator('.jobs tbody tr').count(), 1);
  await second.close();
  await page.getByRole('button', { name: 'Remove team=find-roads' }).click();
  await row(other).waitFor();
  assert.match(page.url(), /#\/jobs$/);
  // A label of a row filters on click.
  await page.locator('.jobs tr', { has: page.locator(`a[href="#/jobs/${other}"]`) }).getByRole('link', { name: 'team=find-rivers' }).click();
  await row(roads).waitFor({ state: 'detached' });
  await field.fill('param.name=second');
  await field.press('Enter');
  await page.getByRole('button', { name: 'Remove parameter name=second' }).waitFor();
  await row(other).waitFor();
  const address = new URLSearchParams(page.url().split('?')[1]);
  assert.deepEqual([...address], [['label.team', 'find-rivers'], ['param.name', 'second']]);
  await row(other).click();
  // A job shows its labels, which lead to the list.
  await page.locator('.view-head').getByRole('link', { name: 'run=1' }).click();
  await row(roads).waitFor();
  await row(other).waitFor();
});

inBrowser('jobs are found by the beginning of a word and by day', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('hello_world', hello('word', { team: 'find-words' }));
  const row = page.locator(`.jobs a[href="#/jobs/${jobId}"]`);
  const field = page.getByRole('searchbox', { name: 'Find jobs' });
  for (const [typed, isFound] of [['find-w', true], [jobId.slice(0, 10), true], ['nothing-like-it', false]]) {
    await open('jobs');
    await row.waitFor();
    await field.fill(typed);
    await page.getByRole('button', { name: 'Find', exact: true }).click();
    if (isFound) await eventually('one job is left', async () => await page.locator('.jobs tbody tr').count() === 1 && await row.count() === 1);
    else await page.getByText('No matching job', { exact: true }).waitFor();
    assert.ok(page.url().endsWith(`?q=${typed}`), page.url());
  }
  await open('jobs?q=find-w&to=2001-01-01');
  await page.getByText('No matching job', { exact: true }).waitFor();
  assert.equal(await page.getByLabel('Submitted on this day or earlier').inputValue(), '2001-01-01');
  await page.getByLabel('Submitted on this day or earlier').fill('');
  await row.waitFor();
  assert.ok(page.url().endsWith('?q=find-w'), page.url());
  // A mistake is answered by the app.
  await open('jobs?label.Team=roads');
  await page.getByRole('alert').getByText('needs the key of a label').waitFor();
});

inBrowser('labels fit on the screen of a phone', PHONE, async ({ page, open, cloud }) => {
  const labels = Object.fromEntries(Array.from({ length: 16 }, (_, at) => [`k${at}${'-x'.repeat(30)}`, 'v'.repeat(200)]));
  const jobId = await cloud.submit('hello_world', hello('wide', labels));
  for (const view of ['jobs', `jobs/${jobId}`, 'jobs?label.team=find-roads&from=2026-01-01']) {
    await open(view);
    await page.locator('main h1').waitFor();
    if (!view.includes('?')) await page.locator('a.chip').first().waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= PHONE.viewport.width, `${view} is ${wide} wide`);
  }
});
