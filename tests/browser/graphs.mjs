// A job whose stages are nodes of a graph: the drawing and its states, the selected node, the list on a phone, 100 nodes,
// the keyboard, and the definition.

import assert from 'node:assert/strict';

import { eventually } from './cloud.mjs';
import { heading, inBrowser, PHONE, violations } from './harness.mjs';
import { WORKFLOWS } from './workflows.mjs';

const LONG = 'thumbnails_of_all_tiles_for_the_catalogue';
const node = (page, label) => page.getByRole('link', { name: label, exact: true });
const panel = (page, name) => page.getByRole('region', { name, exact: true });
const drawing = (page) => page.getByRole('group', { name: /^Graph of the job/ });

// A job of every_kind that waits at its gate.
export async function atGate(cloud, tag) {
  const jobId = await cloud.submit('every_kind', { tag });
  await eventually('the gate waits', async () => (await cloud.get(`jobs/status/${jobId}`)).progress.some((stage) => stage.node.waitsForDecision));
  return jobId;
}

export const approve = (cloud, jobId) => cloud.ask('POST', `jobs/gate/${jobId}/approve`, { decision: 'approve', by: 'another user' });

inBrowser('a graph shows every kind of node with its state', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'every kind');
  await open(`jobs/${jobId}`);
  for (const label of [
    'Tasks check: Completed', 'Decision by_size: Completed', 'Tasks tiles: Completed', 'Tasks whole: Skipped',
    'Decision all_tiles: Completed', `Tasks ${LONG}: Failed, best effort`, 'Gate approve: Waits for a decision',
    'Tasks publish: Waits for 1 node', 'Job index: Waits for 1 node',
  ]) await node(page, label).waitFor();
  // A state has its own shape: nobody needs to tell the colours apart.
  const shapes = await page.locator('.graph-node').evaluateAll((nodes) => nodes.map((one) => [one.dataset.state, one.querySelector('.state-drawing').getAttribute('d')].join(' ')));
  const kinds = new Set(shapes);
  assert.equal(kinds.size, new Set([...kinds].map((one) => one.split(' ')[0])).size);
  assert.equal(new Set([...kinds].map((one) => one.slice(one.indexOf(' ')))).size, kinds.size);
  // A long name is shown completely.
  assert.equal(await node(page, `Tasks ${LONG}: Failed, best effort`).locator('.graph-name').textContent(), LONG);
  const { progress } = await cloud.get(`jobs/status/${jobId}`);
  const sum = (field) => progress.reduce((total, stage) => total + stage.node[field].length, 0);
  assert.equal(await page.locator('.graph-link .graph-edge:not(.follows)').count(), sum('needs'));
  assert.equal(await page.locator('.graph-link .graph-edge.follows').count(), sum('follows'));
  assert.notEqual(await page.locator('.graph-link .follows').first().evaluate((edge) => getComputedStyle(edge).strokeDasharray), 'none');
  assert.equal(await page.getByRole('heading', { name: 'Stages' }).count(), 0, 'the graph replaces the list of stages');
  await approve(cloud, jobId);
  for (const label of ['Gate approve: Completed', 'Tasks publish: Completed', 'Job index: Completed']) await node(page, label).waitFor();
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
});

inBrowser('a selected node shows its tasks, its error and its output', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'selected');
  await approve(cloud, jobId);
  await cloud.over(jobId);
  await open(`jobs/${jobId}`);
  await node(page, `Tasks ${LONG}: Failed, best effort`).click();
  await panel(page, LONG).locator('.error-text', { hasText: 'there is no space for thumbnails' }).waitFor();
  await eventually('only its task is listed', async () => await page.locator('.task-row').count() === 1);
  await page.locator('.task-row .badge', { hasText: 'Failed' }).waitFor();
  assert.ok(page.url().endsWith(`?node=${LONG}`), 'the selection has an address');
  await node(page, 'Tasks tiles: Completed').click();
  await eventually('the tasks of the other node are listed', async () => await page.locator('.task-row .badge', { hasText: 'Completed' }).count() === 3);
  await node(page, 'Decision all_tiles: Completed').click();
  await panel(page, 'all_tiles').locator('.json', { hasText: '3' }).waitFor();
  await page.getByText('The node all_tiles has no tasks.').waitFor();
  await node(page, 'Gate approve: Completed').click();
  await panel(page, 'approve').locator('.json', { hasText: '"another user"' }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Approve', exact: true }).count(), 0, 'it is decided');
  // The list of tasks and the graph show the same selection.
  await page.getByLabel('Stage', { exact: true }).selectOption({ label: '3  tiles' });
  await panel(page, 'tiles').waitFor();
  await panel(page, 'tiles').getByRole('link', { name: 'by_size' }).click();
  await panel(page, 'by_size').waitFor();
  await page.getByRole('button', { name: 'Close the node' }).click();
  await panel(page, 'by_size').waitFor({ state: 'hidden' });
  assert.ok(page.url().endsWith(jobId));
  // The address leads to the node, on another page too.
  await page.goto(`${cloud.page}#/jobs/${jobId}?node=index`);
  const { progress } = await cloud.get(`jobs/status/${jobId}`);
  const { childJobId } = progress.find((stage) => stage.node.name === 'index').node;
  await panel(page, 'index').locator(`a[href="#/jobs/${childJobId}"]`).click();
  await heading(page, 'index_entry').waitFor();
  await open(`jobs/${jobId}?node=not_there`);
  await page.getByText('This job has no node not_there.').waitFor();
});

inBrowser('a graph updates itself and keeps focus, selection and scroll position', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'kept');
  await open(`jobs/${jobId}?node=check`);
  await page.getByRole('button', { name: 'Zoom in' }).click();
  await page.getByRole('button', { name: 'Zoom in' }).click();
  await page.getByRole('button', { name: 'Zoom in' }).click();
  const publish = node(page, 'Tasks publish: Waits for 1 node');
  await publish.evaluate((one) => { one.dataset.old = 'yes'; });
  await drawing(page).locator('[tabindex="0"]').focus();
  // A text that the user has selected, and where the drawing and the page were scrolled to.
  const place = () => page.evaluate(() => {
    const frame = document.querySelector('.graph-frame');
    return [frame.scrollLeft, frame.scrollTop, scrollY, String(getSelection()), document.activeElement.getAttribute('aria-label')];
  });
  await page.evaluate(() => {
    document.querySelector('.graph-frame').scrollTo(40, 30);
    scrollTo(0, 120);
    getSelection().selectAllChildren(document.querySelector('.node-panel .facts dd'));
  });
  const before = await place();
  assert.equal(before[3], 'Tasks');
  await approve(cloud, jobId);
  await node(page, 'Tasks publish: Completed').waitFor();
  await page.locator('.view-head .badge', { hasText: 'Completed' }).waitFor();
  assert.equal(await node(page, 'Tasks publish: Completed').getAttribute('data-old'), 'yes', 'its element stays');
  const [left, top, , text, focus] = await place();
  assert.deepEqual([left, top, text, focus], [before[0], before[1], before[3], 'Tasks check: Completed']);
});

inBrowser('running, stopped and unreached nodes are told apart', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('endless', { tag: 'states' });
  await open(`jobs/${jobId}`);
  await node(page, 'Tasks work: Running 0 / 1').waitFor();
  await node(page, 'Tasks after_work: Waits for 1 node').waitFor();
  await cloud.ask('POST', `jobs/cancel/${jobId}`);
  await node(page, 'Tasks work: Stopped').waitFor();
  await node(page, 'Tasks after_work: Not reached').waitFor();
});

inBrowser('100 nodes are drawn readably and the same way each time', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('hundred', { tag: 'drawn' });
  await cloud.over(jobId);
  await open(`jobs/${jobId}?node=step_19_3`);
  const look = () => page.locator('.graph-node').evaluateAll((nodes) => nodes.map((one) => {
    const { left, top, right, bottom } = one.querySelector('.graph-box').getBoundingClientRect();
    return { label: one.getAttribute('aria-label'), place: one.getAttribute('transform'), left, top, right, bottom };
  }));
  await panel(page, 'step_19_3').waitFor();
  const nodes = await look();
  assert.equal(nodes.length, 100);
  assert.ok(nodes.every(({ label }) => label.endsWith(': Completed')));
  nodes.forEach((one, at) => nodes.slice(at + 1).forEach((other) => {
    const isApart = one.right <= other.left || other.right <= one.left || one.bottom <= other.top || other.bottom <= one.top;
    assert.ok(isApart, `${one.label} and ${other.label} overlap`);
  }));
  assert.ok(nodes[0].right - nodes[0].left >= 140, 'the text of a node can be read');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page does not scroll horizontally');
  const frame = await page.locator('.graph-frame').evaluate((one) => { const { left, top, right, bottom } = one.getBoundingClientRect(); return { left, top, right, bottom }; });
  const isInside = ({ left, top, right, bottom }) => left >= frame.left && top >= frame.top && right <= frame.right && bottom <= frame.bottom;
  assert.ok(isInside(nodes.find(({ label }) => label === 'Tasks step_19_3: Completed')), 'the node of the address is visible');
  assert.ok(!nodes.every(isInside));
  await page.getByRole('button', { name: 'Fit' }).click();
  assert.ok((await look()).every(isInside), 'the whole graph is visible');
  await page.reload();
  await panel(page, 'step_19_3').waitFor();
  assert.deepEqual((await look()).map(({ place }) => place), nodes.map(({ place }) => place));
});

inBrowser('a graph is used with the keyboard alone', async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'keys');
  await open(`jobs/${jobId}`);
  await node(page, 'Gate approve: Waits for a decision').waitFor();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
  for (let presses = 0; await focused() !== 'Tasks check: Completed'; presses += 1) {
    assert.ok(presses < 40, 'Tab reaches the graph');
    await page.keyboard.press('Tab');
  }
  // The arrows go where they point: each node can be reached.
  const seen = new Set([await focused()]);
  const isDown = await drawing(page).evaluate((svg) => svg.viewBox.baseVal.height > svg.viewBox.baseVal.width);
  for (const key of isDown ? ['ArrowDown', 'ArrowLeft', 'ArrowRight', 'ArrowUp'] : ['ArrowRight', 'ArrowUp', 'ArrowDown', 'ArrowLeft']) {
    for (let presses = 0; presses < 8; presses += 1) {
      await page.keyboard.press(key);
      seen.add(await focused());
    }
  }
  assert.ok(seen.size >= 7, [...seen].join('; '));
  await node(page, 'Gate approve: Waits for a decision').focus();
  await page.keyboard.press('Enter');
  await panel(page, 'approve').waitFor();
  assert.match(page.url(), /\?node=approve$/);
  assert.equal(await focused(), 'Gate approve: Waits for a decision', 'the focus stays in the graph');
  // One tab stop: the next one is outside the graph.
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.closest('.graph-drawing')), null);
  await page.reload();
  await panel(page, 'approve').waitFor();
  await cloud.ask('POST', `jobs/cancel/${jobId}`);
});

inBrowser('on a phone the nodes are a list', PHONE, async ({ page, open, cloud }) => {
  const jobId = await atGate(cloud, 'phone');
  const fits = async (what) => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= PHONE.viewport.width, `${what} is wider than the screen`);
  await open(`jobs/${jobId}`);
  const list = page.getByRole('list', { name: 'Nodes in the order in which they run' });
  await list.waitFor();
  assert.equal(await list.getByRole('link').count(), 9);
  await drawing(page).waitFor({ state: 'hidden' });
  await list.getByRole('link', { name: /^whole/ }).getByText('Skipped').waitFor();
  await list.getByRole('link', { name: /^publish/ }).getByText('after approve').waitFor();
  await fits('the list');
  await list.getByRole('link', { name: /^tiles/ }).tap();
  await panel(page, 'tiles').waitFor();
  await eventually('the details are on the screen', () => panel(page, 'tiles').evaluate((one) => one.getBoundingClientRect().top < innerHeight && one.contains(document.activeElement)));
  await page.getByRole('button', { name: 'Decide' }).tap();
  await page.getByRole('button', { name: 'Approve', exact: true }).waitFor();
  await fits('the decision');
  assert.deepEqual(await violations(page), []);
  await page.getByText('Drawing', { exact: true }).tap();
  await drawing(page).waitFor();
  await fits('the drawing');
  await cloud.ask('POST', `jobs/cancel/${jobId}`);
  const large = await cloud.submit('hundred', { tag: 'phone' });
  await open(`jobs/${large}`);
  await eventually('all nodes are listed', async () => await list.getByRole('link').count() === 100);
  await fits('the list of 100 nodes');
});

for (const colorScheme of ['light', 'dark']) {
  inBrowser(`axe finds no serious violation in a graph (${colorScheme})`, { colorScheme }, async ({ page, open, cloud }) => {
    const jobId = await atGate(cloud, `axe ${colorScheme}`);
    await open(`jobs/${jobId}?node=approve`);
    await page.getByRole('button', { name: 'Approve', exact: true }).waitFor();
    assert.deepEqual(await violations(page), []);
    await page.getByText('List', { exact: true }).click();
    await page.getByRole('tab', { name: 'Definition' }).click();
    await page.locator('.definition').waitFor();
    assert.deepEqual(await violations(page), []);
    await cloud.ask('POST', `jobs/cancel/${jobId}`);
  });
}

inBrowser('the definition that a job runs is shown, and a line has none', async ({ page, open, cloud }) => {
  const jobId = await cloud.submit('index_entry', { tag: 'definition' });
  await cloud.over(jobId);
  await open(`jobs/${jobId}`);
  await page.getByRole('tab', { name: 'Definition' }).click();
  await page.getByText('The workflow index_entry, version 1, as it was when the job was submitted.').waitFor();
  assert.equal(await page.locator('.definition').textContent(), WORKFLOWS.index_entry);
  const line = await cloud.submit('hello_world', { n: 2, name: 'no graph' });
  await cloud.over(line);
  // An address of a graph that does not apply to a line.
  await open(`jobs/${line}?tab=definition`);
  await page.locator('.stages li').nth(1).waitFor();
  await page.locator('.task-row').first().waitFor();
  assert.equal(await page.getByRole('tab', { name: 'Definition' }).count(), 0);
  assert.equal(await page.getByRole('heading', { name: 'Graph' }).count(), 0);
  assert.ok(!('definition' in await cloud.get(`db/jobs/${line}`)));
});
