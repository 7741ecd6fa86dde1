// Submitting with the form, by mouse and by keyboard, and the messages about invalid input.

import assert from 'node:assert/strict';

import { heading, inBrowser, violations } from './harness.mjs';

inBrowser('a job is submitted with the form and runs to its end', async ({ page, open }) => {
  await open('submit/hello_world');
  await page.getByLabel(/^n /).fill('250');
  await page.getByLabel('name', { exact: true }).fill('the browser');
  await page.getByText('Service Bus', { exact: true }).click();
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.waitForURL(/#\/jobs\/[0-9a-f]{64}$/);
  await heading(page, 'hello_world').waitFor();
  // Without a reload: the page updates by itself.
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
  await page.getByText('500 / 500').waitFor();
  assert.equal(await page.locator('.stages [role=progressbar][aria-valuenow="100"]').count(), 2);
  await page.getByRole('tab', { name: 'Parameters' }).click();
  await page.locator('.json', { hasText: '"the browser"' }).waitFor();
  assert.match(await page.locator('.json').first().textContent(), /"use_service_bus": true/);
  await page.getByRole('tab', { name: 'Results' }).click();
  await page.locator('[role=tabpanel]:not([hidden]) .json', { hasText: '250' }).first().waitFor();
  await page.getByRole('tab', { name: 'Timeline' }).click();
  await page.getByRole('row', { name: /The job completed/ }).waitFor();
  assert.equal(await page.locator('.time-bars li').count(), 2, 'one bar a stage');
  await page.getByRole('row', { name: /Stage 2 ended: 250 completed, 0 failed, 0 skipped/ }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole('tab', { name: 'Audit' }).click();
  await page.getByText('The audit is consistent').waitFor();
  assert.match(page.url(), /\?tab=audit$/);
});

inBrowser('a job is submitted with the keyboard alone', async ({ page, open }) => {
  await open('jobs');
  await heading(page, 'Jobs').waitFor();
  await page.keyboard.press('g');
  await page.keyboard.press('s');
  await heading(page, 'Submit a job').waitFor();
  await page.getByLabel(/^n /).waitFor();
  const name = () => page.evaluate(() => document.activeElement.name ?? '');
  for (let presses = 0; (await name()) !== 'n'; presses += 1) {
    assert.ok(presses < 20, 'Tab reaches the first field');
    await page.keyboard.press('Tab');
  }
  assert.equal(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'solid', 'the focus is visible');
  await page.keyboard.type('12');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('keys g c j k');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/jobs\/[0-9a-f]{64}$/);
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
  // And back: to the list, to its first row, and into it.
  await page.keyboard.press('g');
  await page.keyboard.press('j');
  await heading(page, 'Jobs').waitFor();
  await page.locator('.jobs .row-link').first().waitFor();
  await page.keyboard.press('j');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'row-link');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/jobs\/[0-9a-f]{64}$/);
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
});

inBrowser('invalid input is reported at its field', async ({ page, open, cloud }) => {
  await open('submit/hello_world');
  const n = page.getByLabel(/^n /);
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('This field is required.').waitFor();
  assert.equal(await n.getAttribute('aria-invalid'), 'true');
  assert.equal(await n.evaluate((field) => field === document.activeElement), true);
  await n.fill('0');
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('It must be a whole number from 1 to 1,000,000.').waitFor();
  // Only the app knows the maximum length of a text.
  await n.fill('3');
  const name = page.getByLabel('name', { exact: true });
  await name.fill('x'.repeat(101));
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('It must be text of 1 to 100 characters.').waitFor();
  assert.equal(await name.getAttribute('aria-invalid'), 'true');
  assert.equal(await n.getAttribute('aria-invalid'), null, 'a corrected field is not marked');
  const said = await fetch(`${cloud.addresses.url}/api/jobs/submit/hello_world`, { method: 'POST', body: JSON.stringify({ n: 3, name: 'x'.repeat(101) }) });
  assert.equal((await said.json()).problems[0].allowed, 'text of 1 to 100 characters', 'the page shows the app’s own message');
});

inBrowser('an impossible job is rejected with the calculation', async ({ page, open }) => {
  await page.route('**/api/jobs/submit/**', (route) => route.fulfill({
    status: 400, contentType: 'application/json',
    body: JSON.stringify({ error: 'cannot work', message: 'no', problems: [{ check: 'duration', problem: '1000000 tasks of 1 h take 11 years' }] }),
  }));
  await open('submit/hello_world');
  await page.getByLabel(/^n /).fill('1000000');
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('Duration: 1000000 tasks of 1 h take 11 years').waitFor();
});

inBrowser('a repeated submission leads to the same job', async ({ page, open, cloud }) => {
  const first = await cloud.submit('hello_world', { n: 2, name: 'twice' });
  await cloud.over(first);
  await open('submit/hello_world');
  await page.getByLabel(/^n /).fill('2');
  await page.getByLabel('name', { exact: true }).fill('twice');
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('The same job was already submitted: completed.').waitFor();
  assert.ok(page.url().endsWith(`#/jobs/${first}`));
});
