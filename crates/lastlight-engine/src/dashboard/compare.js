// The paths side by side: Storage Queues, Service Bus and, if they ran tasks, workers, from recorded metrics.

import { ask } from './api.js';
import { bars, percentiles } from './charts.js';
import { h, redraw, replace, setAttribute } from './dom.js';
import * as format from './format.js';
import { nameTypes } from './jobs.js';
import { heading, notice, select, showTrouble } from './parts.js';
import { poll } from './poll.js';
import { note } from './router.js';

const EVERY = 15_000;
const WINDOWS = [['1', 'Last hour'], ['24', 'Last day'], ['168', 'Last week']];
const PATHS = [['queue_storage', 'Storage Queue', 'a'], ['service_bus', 'Service Bus', 'b'], ['worker', 'Workers', 'c']];

// Tasks of workers may be of jobs on any path, so their jobs are compared with the others only if there are some.
const shownPaths = (figures) => PATHS.filter(([key]) => key !== 'worker' || figures?.worker?.tasks_processed > 0);

const legendOf = (paths) => paths.map(([, label, series]) =>
  h('span', {}, h('i', { class: `swatch series-${series}`, 'aria-hidden': 'true' }), label));

export function compare({ signal, query, onRefresh }) {
  const filters = { hours: query.get('hours') ?? '24', job_type: query.get('type') ?? '' };
  const content = h('div', { class: 'compare' });
  const legend = h('p', { class: 'legend' }, legendOf(shownPaths(null)));
  const changed = (name, value) => {
    filters[name] = value;
    note(['compare'], { hours: filters.hours === '24' ? '' : filters.hours, type: filters.job_type });
    // Until the response arrives, the metrics shown are those of the previous filters.
    setAttribute(content, 'aria-busy', 'true');
    poller.now();
  };
  const hours = select({ label: 'Time', value: filters.hours, options: WINDOWS, onchange: (value) => changed('hours', value) });
  const types = select({
    label: 'Job type', value: filters.job_type, onchange: (value) => changed('job_type', value),
    options: [['', 'All job types'], ...(filters.job_type ? [[filters.job_type, filters.job_type]] : [])],
  });
  let named = null;
  let drawn = '';
  const poller = poll(async (stop) => {
    const answer = await ask('metrics/comparison', { query: filters, signal: stop });
    const { request_id: _id, timestamp: _time, query_info: info, ...rest } = answer;
    const figures = { ...rest, missing: { stages: info?.stages_not_counted_yet ?? 0, jobs: info?.jobs_not_counted_yet ?? 0 } };
    const now = JSON.stringify(figures);
    // Unchanged metrics are not drawn again, so that the focus stays.
    if (now !== drawn) redraw(content, show(figures));
    drawn = now;
    replace(legend, legendOf(shownPaths(figures)));
    setAttribute(content, 'aria-busy', null);
    named ??= nameTypes(types, () => filters.job_type, signal).catch(() => { named = null; });
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind === 'unreachable' && drawn !== '') return;
    drawn = '';
    setAttribute(content, 'aria-busy', null);
    showTrouble(content, problem, () => poller.now());
  } });
  onRefresh(() => poller.now());

  return h('section', { class: 'view' },
    heading('Compare the paths'),
    h('div', { class: 'filters' }, legend, h('span', { class: 'spacer' }), types.node, hours.node),
    content);
}

function show(figures) {
  const paths = shownPaths(figures).map(([key, label, series]) => ({ label, series, ...figures[key] }));
  const { comparison, missing } = figures;
  const perPath = (value, shown) => paths.map((path) => {
    const known = value(path);
    const isKnown = typeof known === 'number';
    return { name: path.label, series: path.series, value: isKnown ? known : null, shown: isKnown ? shown(known) : '' };
  });
  const latencies = (name, field) => ({
    name, lines: paths.map((path) => ({ label: path.label, series: path.series, ...path[field] })),
  });
  const currency = paths.map(({ cost_per_million_tasks: cost }) => cost?.currency).find(Boolean) ?? '';
  const money = (amount) => `${currency} ${amount.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  return [
    comparison?.note ? notice('info', sentenceOf(comparison.note)) : null,
    missing.stages + missing.jobs > 0
      ? notice('info', `${format.count(missing.stages)} finished stages and ${format.count(missing.jobs)} finished jobs are not counted yet`, 'The next sweeps add them.')
      : null,
    h('div', { class: 'tiles' },
      tile('Latency', comparison?.latency_improvement, 'shorter', 'longer', 'duration of a job over Service Bus'),
      tile('Throughput', comparison?.throughput_improvement, 'more', 'less', 'tasks per second over Service Bus'),
      tile('Timeouts', comparison?.timeout_reduction, 'fewer', 'more', 'jobs past their deadline over Service Bus')),
    h('div', { class: 'charts' },
      bars({ title: 'Throughput', note: 'tasks per second while stages ran', rows: perPath((path) => path.tasks_per_second, (value) => `${format.measure(value)}/s`) }),
      bars({ title: 'Cost', note: 'per million tasks, from the price table', rows: perPath((path) => path.cost_per_million_tasks?.amount, money) }),
      bars({
        title: 'Failures', note: 'share of tasks that failed permanently',
        rows: perPath((path) => (path.tasks_processed > 0 ? (path.tasks_failed ?? 0) / path.tasks_processed : null), format.percent),
      }),
      bars({
        title: 'Retries', note: 'per thousand tasks',
        rows: perPath((path) => (path.tasks_processed > 0 ? ((path.retries ?? 0) / path.tasks_processed) * 1000 : null), format.measure),
      })),
    percentiles({
      title: 'Latency', note: 'milliseconds on a logarithmic scale',
      groups: [latencies('Wait in queue', 'queue_wait_ms'), latencies('Run', 'run_ms'), latencies('Whole job', 'job_ms')],
    }),
    table(paths, money),
  ];
}

const sentenceOf = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

// The improvement of Service Bus over Storage Queue, in percent.
function tile(name, value, better, worse, what) {
  const isKnown = typeof value === 'number';
  return h('div', { class: 'tile' },
    h('p', { class: 'tile-name' }, name),
    h('p', { class: 'tile-value num', 'data-tone': !isKnown ? 'off' : value === 0 ? null : value > 0 ? 'ok' : 'bad' },
      isKnown ? `${format.measure(Math.abs(value))}% ${value >= 0 ? better : worse}` : 'not enough data'),
    h('p', { class: 'muted small' }, what));
}

function table(paths, money) {
  const spread = (name, field) => [`${name}: p50 / p95 / p99`, (path) => {
    const figures = path[field];
    return figures?.p50 === null || figures?.p50 === undefined ? format.NOTHING
      : [figures.p50, figures.p95, figures.p99].map(format.milliseconds).join(' / ');
  }];
  const rows = [
    ['Jobs', (path) => format.count(path.jobs_processed)],
    ['Tasks', (path) => format.count(path.tasks_processed)],
    ['Failed tasks', (path) => format.count(path.tasks_failed)],
    ['Retries', (path) => format.count(path.retries)],
    ['Whole job, average', (path) => format.milliseconds(path.avg_latency_ms)],
    ['Jobs past their deadline', (path) => format.percent(path.timeout_rate)],
    ['Tasks per second', (path) => format.measure(path.tasks_per_second)],
    ['Messages per task', (path) => format.measure(path.messages_per_task)],
    ['Service Bus credits per task', (path) => format.measure(path.credits_per_task)],
    ['Cost per million tasks', (path) => (typeof path.cost_per_million_tasks?.amount === 'number' ? money(path.cost_per_million_tasks.amount) : format.NOTHING)],
    spread('Wait in queue', 'queue_wait_ms'), spread('Run', 'run_ms'), spread('Whole job', 'job_ms'),
    ['Samples: wait / run / job', (path) => ['queue_wait_ms', 'run_ms', 'job_ms'].map((field) => format.count(path[field]?.samples)).join(' / ')],
  ];
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'All metrics' }, h('table', { class: 'plain' },
    h('caption', {}, 'All metrics'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Metric'), paths.map(({ label }) => h('th', { scope: 'col', class: 'right' }, label)))),
    h('tbody', {}, rows.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, name), paths.map((path) => h('td', { class: 'num right' }, value(path))))))));
}
