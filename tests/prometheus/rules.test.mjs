// The alert rules on artificial series: which series must raise each alert, and which must not.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { alerts, CASES, promtool, RULES } from './files.mjs';

test('Prometheus can read the rules', () => {
  const { status, said } = promtool(['check', 'rules', RULES]);
  assert.equal(status, 0, said);
});

test('alerts are raised on the failure series only', () => {
  const { status, said } = promtool(['test', 'rules', CASES]);
  assert.equal(status, 0, said);
});

test('each alert has a case that raises it and one that does not', () => {
  // For each alert that a case checks: whether it is raised at any time.
  const cases = readFileSync(CASES, 'utf8').split(/^ *- name: /m).slice(1).map((text) => {
    const looks = new Map();
    for (const look of text.split('alertname: ').slice(1)) {
      const [name] = look.match(/^\w+/);
      looks.set(name, looks.get(name) || !/^\w+[\s,]+exp_alerts: *\[\]/.test(look));
    }
    return looks;
  });
  const names = alerts();
  assert.ok(names.length > 10, `only ${names} in ${RULES}`);
  for (const name of names) {
    assert.ok(cases.some((looks) => looks.get(name) === true), `no case raises ${name}`);
    assert.ok(cases.some((looks) => looks.get(name) === false), `there is no case in which ${name} is never raised`);
  }
  // promtool treats an unknown alert name as an alert that is not raised.
  for (const name of cases.flatMap((looks) => [...looks.keys()])) {
    assert.ok(names.includes(name), `a case names ${name}, which is not an alert`);
  }
});
