// Dead-lettered messages: listed, redriven, discarded.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { eventually } from './cloud.mjs';
import { hold, inBrowser } from './harness.mjs';

const waiting = (cloud, queue) => async () => (await cloud.get('monitor/poison')).queue_details[queue].poison_messages === 1;

inBrowser('a message in the review queue is shown and redriven', async ({ page, open, cloud }) => {
  // A message for a job that does not exist yet: it is kept for review.
  const parameters = { n: 7, name: `late ${randomUUID()}`, use_service_bus: true };
  const jobId = await jobIdOf(parameters);
  await cloud.send('sb-jobs', JSON.stringify({ job_id: jobId, job_type: 'hello_world', stage: 1, parameters }));
  await eventually('the message is dead-lettered', waiting(cloud, 'sb-poison'));
  await open('poison');
  const card = page.getByRole('article', { name: 'sb-poison' });
  await card.getByText('1 message', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Show messages' }).click();
  await card.getByText(`there is no job ${jobId}`).waitFor();
  await card.getByText('Message', { exact: true }).click();
  await card.locator('.json', { hasText: jobId }).waitFor();
  // Now the job exists, and the task of the message is done.
  assert.equal(await cloud.submit('hello_world', parameters), jobId);
  await cloud.over(jobId);
  await card.getByRole('button', { name: 'Redrive' }).click();
  await page.getByText('Redriven to sb-jobs.').waitFor();
  await card.getByText('0 messages', { exact: true }).waitFor();
  assert.equal(await card.locator('.messages li').count(), 0);
  assert.equal((await cloud.get('monitor/poison')).poison_messages_found, 0);
});

inBrowser('a message is discarded only after confirmation', async ({ page, open, cloud }) => {
  await cloud.send('sb-tasks', 'not a message at all');
  await eventually('the message is dead-lettered', waiting(cloud, 'sb-poison'));
  await open('poison');
  const card = page.getByRole('article', { name: 'sb-poison' });
  await page.getByRole('button', { name: 'Show messages' }).click();
  await card.getByRole('button', { name: 'Discard' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Leave it' }).click();
  assert.equal((await cloud.get('monitor/poison')).poison_messages_found, 1);
  // A message that cannot be redriven stays, and the app shows the reason.
  await card.getByRole('button', { name: 'Redrive' }).click();
  await page.getByRole('alert').getByText('cannot be sent again').waitFor();
  await card.getByRole('button', { name: 'Discard' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Discard' }).click();
  await page.getByText('Discarded.').waitFor();
  await page.getByText('No dead-lettered messages.').waitFor();
});

inBrowser('messages are discarded with the keyboard', async ({ page, open, cloud }) => {
  for (const text of ['one', 'two']) await cloud.send('sb-tasks', text);
  await eventually('the messages are dead-lettered', async () => (await cloud.get('monitor/poison')).poison_messages_found === 2);
  await open('poison');
  // *Process all* would skip these messages: only an operator knows what they are.
  await page.getByText('2 dead-lettered messages. Review queues hold all of them').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Process all' }).isDisabled(), true);
  await page.getByRole('button', { name: 'Show messages' }).click();
  const discards = page.getByRole('button', { name: 'Discard' });
  await discards.nth(1).waitFor();
  assert.equal(await page.getByText('could be shown').count() + await page.getByText('holds more messages than').count(), 0);
  // An answer that is older than an action does not bring back discarded messages.
  const look = await hold(page, '**/api/monitor/poison?peek=*');
  await page.getByRole('button', { name: 'Show messages' }).click();
  await eventually('the messages are requested', () => look.held.length === 1);
  await discards.first().focus();
  for (const left of [1, 0]) {
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await eventually('one message is removed', async () => await page.locator('.messages > li').count() === left);
    await eventually('the focus moves on', () => page.evaluate((word) => document.activeElement.textContent === word,
      left > 0 ? 'Discard' : 'Poison and dead letters'));
    if (left === 0) break;
    look.release();
    await eventually('the answer is processed', () => page.getByRole('button', { name: 'Show messages' }).isEnabled());
    assert.equal(await page.locator('.messages > li').count(), 1);
  }
  await page.getByText('No dead-lettered messages.').waitFor();
});

inBrowser('all messages are processed at once', async ({ page, open, cloud }) => {
  await cloud.send('sb-tasks', 'for the review queue');
  await eventually('the message is dead-lettered', waiting(cloud, 'sb-poison'));
  // A dead letter that its function is processing: it is counted, and cannot be received.
  await page.route('**/api/monitor/poison*', async (route) => {
    if (route.request().method() !== 'GET') return route.fallback();
    const response = await route.fetch();
    const answer = await response.json();
    answer.queue_details['sb-tasks/$DeadLetterQueue'].poison_messages = 1;
    await route.fulfill({ response, json: answer });
  });
  await open('poison');
  await page.getByText('2 dead-lettered messages. Review queues hold 1 of them').waitFor();
  await page.getByRole('button', { name: 'Show messages' }).click();
  await page.getByText('0 of 1 message could be shown.').waitFor();
  let answer;
  await page.route('**/api/monitor/poison', async (route) => {
    if (route.request().method() !== 'POST') return route.fallback();
    await new Promise((resolve) => { answer = resolve; });
    await route.continue();
  });
  const all = page.getByRole('button', { name: 'Process all' });
  await all.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Process all' }).click();
  await eventually('the request is sent', () => answer);
  // Processing takes a while, and the count varies meanwhile: one refresh is enough.
  const counted = page.waitForResponse('**/api/monitor/poison');
  await page.keyboard.press('r');
  await counted;
  await page.waitForTimeout(50);
  assert.equal(await all.isDisabled(), true);
  answer();
  await page.getByText('0 messages processed').waitFor();
  await page.getByText('Review queues still hold 1 message').waitFor();
  await page.getByText('2 dead-lettered messages.').waitFor();
  const { queue_details: { 'sb-poison': { messages: [message] } } } = await cloud.get('monitor/poison?peek=1');
  await cloud.ask('POST', 'monitor/poison', { action: 'discard', queue: 'sb-poison', message_id: message.message_id });
});

// The id of a future job: the hash of its type and of its parameters as Python serializes them.
async function jobIdOf(parameters) {
  const { createHash } = await import('node:crypto');
  const sorted = Object.keys(parameters).sort().map((name) => `${JSON.stringify(name)}: ${JSON.stringify(parameters[name])}`);
  return createHash('sha256').update(`hello_world:{${sorted.join(', ')}}`).digest('hex');
}
