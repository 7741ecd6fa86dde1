// One cloud and one browser for all tests; each test has its own window, and fails if the page throws or logs an error.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { axeSource, chromium, LIMIT, required, startCloud } from './cloud.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const world = { cloud: null, browser: null };
const profile = mkdtempSync(path.join(tmpdir(), 'lastlight-chromium-'));

before(async () => {
  world.browser = await chromium.launch({ executablePath: required('LASTLIGHT_CHROMIUM'), args: FLAGS, env: { ...process.env, HOME: profile } });
  world.cloud = await startCloud();
});

after(async () => {
  await world.browser?.close();
  await world.cloud?.stop();
  rmSync(profile, { recursive: true, force: true });
});

export const DESK = { viewport: { width: 1280, height: 860 }, colorScheme: 'light', reducedMotion: 'reduce' };
export const PHONE = { ...DESK, viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

// Messages of the browser about error answers that a test provokes are not errors of the page.
const EXPECTED = /Failed to load resource/;

// A test with a window of the dashboard. `open(view)` opens a view.
export function inBrowser(name, options, act) {
  if (typeof options === 'function') [options, act] = [{}, options];
  test(name, { timeout: 5 * LIMIT }, async (context) => {
    const { log } = world.cloud;
    const from = log.length;
    const window = await world.browser.newContext({ ...DESK, ...options });
    window.setDefaultTimeout(LIMIT);
    const page = await window.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(error.stack ?? error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !EXPECTED.test(message.text())) complaints.push(message.text());
    });
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog of the browser: ${dialog.message()}`);
      dialog.dismiss();
    });
    const open = (view) => page.goto(`${world.cloud.page}#/${view}`);
    try {
      await act({ page, window, open, cloud: world.cloud, context });
      assert.deepEqual(complaints, [], 'the page threw or logged an error');
    } catch (error) {
      context.diagnostic(`at ${page.url()}`);
      for (const complaint of complaints) context.diagnostic(complaint);
      for (const line of log.slice(from).slice(-20)) context.diagnostic(line);
      throw error;
    } finally {
      await window.close();
    }
  });
}

export const heading = (page, name) => page.getByRole('heading', { level: 1, name });

// The serious violations of accessibility rules that axe finds, one text each.
export async function violations(page) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const serious = found.violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
}

// Delays the answers to these requests until `release()`; `held` are the requests that the app has answered.
export async function hold(page, pattern, isMeant = () => true) {
  const held = [];
  let release;
  const gate = new Promise((resolve) => { release = resolve; });
  await page.route(pattern, async (route) => {
    if (!isMeant(route.request())) return route.fallback();
    const response = await route.fetch().catch(() => null);
    held.push(route.request());
    await gate;
    await (response ? route.fulfill({ response }) : route.abort()).catch(() => { /* the page has aborted the request */ });
  });
  return { held, release };
}
