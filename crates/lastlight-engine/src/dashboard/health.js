// Health of the app: components with their latency, the last sweep, and the live processes.

import { ask } from './api.js';
import { sparkline } from './charts.js';
import { h, keyed, redraw, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { facts, heading, notice, showTrouble, when } from './parts.js';
import { poll } from './poll.js';

const EVERY = 5000;
const KEPT = 60;
const KNOWN = { database: 'PostgreSQL', schema: 'Schema', outbox: 'Outbox', reconcile: 'Sweep', instances: 'Processes', switched_off: 'Disabled paths', workers: 'Workers' };
const ABOUT = {
  schema: 'the tables that the app expects', outbox: 'messages that are not sent to the queues yet',
  reconcile: 'finds and repairs lost work every minute', instances: 'handler processes that report', database: 'holds all pending work',
  switched_off: 'jobs whose path this app does not use', workers: 'handlers that no worker serves',
};

export function health({ signal, onRefresh }) {
  const notices = h('div', {});
  const verdict = h('div', { class: 'verdict', role: 'status' });
  const list = h('div', { class: 'components' });
  // Latencies since the page was opened; the app stores none.
  const history = new Map();

  const poller = poll(async (stop) => {
    // 503 is a valid response: it lists the unhealthy components.
    const answer = await ask('health', { signal: stop, accept: [503] });
    replace(notices);
    draw(answer);
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind !== 'unreachable' || !list.hasChildNodes()) showTrouble(notices, problem, () => poller.now());
  } });
  onRefresh(() => poller.now());

  let shown = '';
  function draw(answer) {
    const isWell = answer.status === 'healthy';
    const now = JSON.stringify([answer.status, answer.errors, answer.environment]);
    if (now !== shown) {
      replace(verdict, isWell
        ? notice('ok', 'All components are healthy', `Environment: ${answer.environment}.`)
        : notice('bad', 'Some components are unhealthy', h('ul', { class: 'plain-list' }, (answer.errors ?? []).map((error) => h('li', {}, error)))));
    }
    shown = now;
    const components = Object.entries(answer.components ?? {}).map(([name, state]) => {
      const known = typeof state === 'object' && state !== null ? state : { status: String(state) };
      const latencies = history.get(name) ?? [];
      latencies.push(typeof known.latency_ms === 'number' ? known.latency_ms : null);
      history.set(name, latencies.slice(-KEPT));
      return { name, ...known, latencies: history.get(name) };
    });
    const order = ['database', 'schema', 'outbox', 'reconcile', 'instances'];
    const rank = ({ name }) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
    components.sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
    keyed(list, components, ({ name }) => name, componentCard);
  }

  return h('section', { class: 'view' }, heading('Health'), notices, verdict, list);
}

const titleOf = (name) => name.split(':')[1] ?? KNOWN[name] ?? name;

function subtitleOf(name) {
  const [path, queue] = name.split(':');
  return queue === undefined ? (ABOUT[name] ?? '') : path === 'queue_storage' ? 'Storage Queue' : `${format.path(path)} queue`;
}

function componentCard(first) {
  const state = h('span', { class: 'badge' });
  const latency = h('span', { class: 'num muted' });
  const line = h('div', { class: 'component-line' });
  const problem = h('p', { class: 'bad-text' });
  const more = h('div', {});
  const node = h('article', { class: 'card component', 'aria-label': titleOf(first.name) },
    h('header', { class: 'line' },
      h('div', {}, h('h2', {}, titleOf(first.name)), h('p', { class: 'muted small' }, subtitleOf(first.name))),
      h('span', { class: 'spacer' }), latency, line, state),
    problem, more);
  let drawn = '';
  return {
    node,
    update({ name, status, latency_ms: ms, error, latencies, ...rest }) {
      const tone = { healthy: 'ok', unhealthy: 'bad', disabled: 'off', degraded: 'warn' }[status] ?? 'idle';
      setAttribute(state, 'data-tone', tone);
      setAttribute(node, 'data-tone', tone === 'bad' || tone === 'warn' ? tone : null);
      replace(state, h('i', { class: 'dot', 'aria-hidden': 'true' }), String(status ?? 'unknown'));
      setText(latency, typeof ms === 'number' ? format.milliseconds(ms) : '');
      const known = latencies.filter((value) => value !== null);
      replace(line, known.length > 1 ? sparkline(latencies, `Latency since this page was opened, at most ${format.milliseconds(Math.max(...known))}`) : null);
      setText(problem, error ?? '');
      problem.hidden = !error;
      const now = JSON.stringify(rest);
      if (now !== drawn) redraw(more, alsoSaid(rest));
      drawn = now;
    },
  };
}

// The other fields of a component: single values as facts, lists of objects as tables.
function alsoSaid(rest) {
  const single = [], tables = [];
  for (const [name, value] of Object.entries(rest)) {
    if (value === null || value === undefined) continue;
    if (Array.isArray(value) && value.every((entry) => entry !== null && typeof entry === 'object')) {
      if (value.length > 0) tables.push(listOf(value, name));
    } else if (name === 'found') {
      const found = Object.entries(value).filter(([, number]) => number !== 0);
      if (found.length === 0) single.push(['Found', 'nothing to repair']);
      for (const [inner, innerValue] of found) single.push([words(inner), worded(inner, innerValue)]);
    } else if (typeof value === 'object' && !Array.isArray(value)) {
      for (const [inner, innerValue] of Object.entries(value)) single.push([words(`${inner}`), worded(inner, innerValue)]);
    } else single.push([words(name), worded(name, value)]);
  }
  return [single.length > 0 ? facts(single).node : null, tables];
}

function listOf(entries, name) {
  const columns = [...new Set(entries.flatMap((entry) => Object.keys(entry)))];
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': words(name) }, h('table', { class: 'plain' },
    h('caption', { class: 'unseen' }, words(name)),
    h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col' }, words(column))))),
    h('tbody', {}, entries.map((entry) => h('tr', {}, columns.map((column) => cell(column, entry[column])))))));
}

function cell(name, value) {
  if (name === 'instance_id') return h('td', { class: 'num', title: value }, String(value).slice(0, 8));
  if (name === 'pool' && value !== null) return h('td', { class: 'num' }, `${format.count(value.in_use)} of ${format.count(value.limit)} in use`);
  return h('td', { class: 'num' }, worded(name, value));
}

const words = (name) => {
  const text = name.replace(/_(ms|seconds)$/, '').replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
};

function worded(name, value) {
  if (value === null || value === undefined) return format.NOTHING;
  if (typeof value === 'number') {
    if (name.endsWith('_seconds')) return format.duration(value * 1000);
    if (name.endsWith('_ms')) return format.milliseconds(value);
    return format.measure(value);
  }
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) && format.time(value) !== null) return when(value).node;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
