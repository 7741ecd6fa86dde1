// The alert rules on made-up series: what must raise each of them, and what must not.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { alerts, CASES, promtool, RULES } from './files.mjs';

test('Prometheus can read the rules', () => {
  const { status, said } = promtool(['check', 'rules', RULES]);
  assert.equal(status, 0, said);
});

test('each alert is raised by what it is for, and by nothing that is harmless', () => {
  const { status, said } = promtool(['test', 'rules', CASES]);
  assert.equal(status, 0, said);
});

test('of each alert there is a case that raises it, and one that does not', () => {
  const cases = readFileSync(CASES, 'utf8').split('alertname: ').slice(1).map((text) => ({
    name: text.match(/^\w+/)[0],
    // Before the next entry of the list.
    raised: !/^\w+[\s,]+exp_alerts: *\[\]/.test(text),
  }));
  const names = alerts();
  assert.ok(names.length > 10, `only ${names} in ${RULES}`);
  for (const name of names) {
    assert.ok(cases.some((one) => one.name === name && one.raised), `no case raises ${name}`);
    assert.ok(cases.some((one) => one.name === name && !one.raised), `there is no case in which ${name} must not be raised`);
  }
  // promtool takes a name that there is not for an alert that is not raised.
  for (const { name } of cases) assert.ok(names.includes(name), `a case names ${name}, which is no alert`);
});
