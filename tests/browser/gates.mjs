// The decision at a gate: approved and rejected by button, with data, and decided by somebody else before.

import assert from 'node:assert/strict';

import { eventually } from './cloud.mjs';
import { approve, atGate } from './graphs.mjs';
import { hold, inBrowser } from './harness.mjs';

const node = (page, label) => page.getByRole('link', { name: label, exact: true });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const output = async (cloud, jobId) => (await cloud.get(`jobs/status/${jobId}`)).progress.find((stage) => stage.node.name === 'approve').node.output;

// Counts the decisions that are sent.
function sent(page) {
  const requests = [];
  page.on('request', (request) => { if (request.url().includes('/jobs/gate/')) requests.push(request); });
  return requests;
}

inBrowser('a gate is approved with a comment and data', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'approved');
  const requests = sent(page);
  await open(`jobs/${jobId}`);
  await page.getByText('The gate approve waits for a decision.', { exact: true }).first().waitFor();
  await button(page, 'Decide').click();
  await page.getByText(/^The job waits here until somebody decides, or until .+ \(in .+\), when the gate decides by itself\.$/).waitFor();
  await page.getByLabel(/^Your name/).fill('Ada');
  await page.getByLabel(/^Comment/).fill('looks <b>good</b>');
  const data = page.getByLabel(/^Data/);
  await data.fill('{"region": nz}');
  await button(page, 'Approve').click();
  await page.getByText(/^This is not valid JSON: /).waitFor();
  assert.equal(await data.getAttribute('aria-invalid'), 'true');
  assert.equal(await data.evaluate((field) => field === document.activeElement), true);
  assert.equal(await page.getByRole('dialog').count(), 0);
  await data.fill('{"region": "nz", "tile": 9007199254740993}');
  assert.equal(await data.getAttribute('aria-invalid'), null);
  await button(page, 'Approve').click();
  const dialog = page.getByRole('dialog', { name: 'Approve approve?' });
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal(requests.length, 0, 'nothing is sent before the confirmation');
  await button(page, 'Approve').click();
  await dialog.getByRole('button', { name: 'Approve' }).click();
  await page.locator('.toast', { hasText: 'The job continues after the gate.' }).waitFor();
  await node(page, 'Gate approve: Completed').waitFor();
  await page.locator('.node-panel .json', { hasText: '"tile": 9007199254740993' }).waitFor();
  const { by, comment, decision } = await output(cloud, jobId);
  assert.deepEqual([by, comment, decision], ['Ada', 'looks <b>good</b>', 'approve']);
  assert.equal(requests.length, 1);
  assert.equal(await page.locator('.waiting-gate').count(), 0);
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
});

inBrowser('a gate is rejected, which skips what needs it', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'rejected');
  await open(`jobs/${jobId}?node=approve`);
  await button(page, 'Reject').click();
  const dialog = page.getByRole('dialog', { name: 'Reject approve?' });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Leave it', 'the harmless button has the focus');
  await dialog.getByRole('button', { name: 'Reject' }).click();
  for (const label of ['Gate approve: Rejected', 'Tasks publish: Skipped', 'Job index: Skipped']) await node(page, label).waitFor();
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
  assert.equal((await output(cloud, jobId)).decision, 'reject');
  await eventually('the focus is not lost', () => page.evaluate(() => document.activeElement !== document.body));
});

inBrowser('a decision that somebody else took before is reported', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'too late');
  // The page does not learn of the other decision before its own.
  const { release } = await hold(page, '**/api/jobs/status/*', (request) => request.url().includes('seen='));
  await open(`jobs/${jobId}?node=approve`);
  await button(page, 'Reject').waitFor();
  await approve(cloud, jobId);
  await button(page, 'Reject').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Reject' }).click();
  const refusal = page.locator('.node-panel [role=alert]', { hasText: 'another user' });
  await refusal.waitFor();
  await node(page, 'Gate approve: Completed').waitFor();
  assert.equal(await button(page, 'Reject').count(), 0, 'there is nothing to decide any more');
  assert.ok(await refusal.isVisible(), 'the reason stays');
  release();
  assert.equal((await output(cloud, jobId)).decision, 'approve');
});

inBrowser('a refused decision can be corrected, a lost one is not repeated', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'refused');
  await open(`jobs/${jobId}?node=approve`);
  const decide = async () => {
    await button(page, 'Approve').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Approve' }).click();
  };
  await page.getByLabel(/^Comment/).fill('x'.repeat(2001));
  await decide();
  await page.locator('.node-panel [role=alert]', { hasText: 'comment has 2001 bytes' }).waitFor();
  assert.equal(await page.getByLabel(/^Comment/).inputValue(), 'x'.repeat(2001), 'what was typed is kept');
  await page.getByLabel(/^Comment/).fill('short');
  const requests = sent(page);
  await page.route('**/api/jobs/gate/**', (route) => route.abort(), { times: 1 });
  await decide();
  await page.locator('.node-panel').getByText(/may or may not have been carried out/).waitFor();
  await page.getByText('Connected again.').waitFor();
  assert.equal(requests.length, 1);
  await eventually('the button is enabled again', () => button(page, 'Approve').isEnabled());
  await decide();
  await node(page, 'Gate approve: Completed').waitFor();
});
