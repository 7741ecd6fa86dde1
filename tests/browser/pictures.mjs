// The screenshots of docs/DASHBOARD.md. They are taken only if LASTLIGHT_SCREENSHOTS names their folder: scripts/screenshots.

import path from 'node:path';

import { atGate } from './graphs.mjs';
import { DESK, inBrowser, PHONE } from './harness.mjs';

const folder = process.env.LASTLIGHT_SCREENSHOTS;

async function prepare(cloud) {
  for (const [n, name] of [[400, 'Auckland'], [1200, 'Wellington'], [90, 'Nelson'], [2500, 'Dunedin']]) {
    await cloud.over(await cloud.submit('hello_world', { n, name, use_service_bus: n > 1000 }));
  }
  const failing = await cloud.submit('chaos', {
    tag: 'tiles-z12', use_service_bus: true, stages: [{ tasks: 600, ms: 5, rules: [{ every: 150, at: 17, act: 'fail' }] }, { tasks: 600, ms: 5 }],
  });
  await cloud.over(failing);
  const running = await cloud.submit('hello_world', { n: 60_000, name: 'Aotearoa', use_service_bus: true });
  await cloud.send('sb-tasks', JSON.stringify({ task_id: 'b9f4c2aa-s1-tile-17', parent_job_id: 'b9f4c2aa'.repeat(8), job_type: 'tiles', task_type: 'render', stage: 1, task_index: 'tile-17', parameters: {} }));
  return { failing, running };
}

if (folder) {
  inBrowser('pictures', DESK, async ({ page, open, cloud, window }) => {
    const { failing, running } = await prepare(cloud);
    const shoot = (on, name) => on.screenshot({ path: path.join(folder, `dashboard-${name}.png`) });
    await page.waitForTimeout(12_000);
    await open('jobs');
    await page.locator('.jobs .row-link').nth(3).waitFor();
    await shoot(page, 'jobs-light');
    await page.emulateMedia({ colorScheme: 'dark' });
    await open(`jobs/${running}`);
    await page.locator('.task-row').nth(5).waitFor();
    await shoot(page, 'job-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await open(`jobs/${failing}`);
    await page.locator('.task-row button').first().click();
    await shoot(page, 'failure-light');
    const gate = await atGate(cloud, 'Aoraki');
    await page.setViewportSize({ ...DESK.viewport, height: 1240 });
    await open(`jobs/${gate}?node=approve`);
    await page.getByRole('button', { name: 'Approve' }).waitFor();
    await shoot(page, 'graph-light');
    await page.setViewportSize(DESK.viewport);
    await open('poison');
    await page.getByRole('button', { name: 'Show messages' }).click();
    await page.locator('.messages li').first().waitFor();
    await shoot(page, 'poison-light');
    await page.emulateMedia({ colorScheme: 'dark' });
    await open('health');
    await page.locator('.component').first().waitFor();
    await page.waitForTimeout(11_000);
    await shoot(page, 'health-dark');
    const phone = await window.browser().newContext({ ...PHONE, viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 });
    const small = await phone.newPage();
    await small.goto(`${cloud.page}#/jobs/${running}`);
    await small.locator('.task-row').first().waitFor();
    await shoot(small, 'job-phone');
    await small.goto(`${cloud.page}#/jobs`);
    await small.locator('.jobs .row-link').nth(2).waitFor();
    await shoot(small, 'jobs-phone');
    await phone.close();
    await page.emulateMedia({ colorScheme: 'light' });
    await open('compare');
    await page.locator('.tile, .callout').first().waitFor();
    await shoot(page, 'compare-light');
  });
}
