// The list of jobs, newest first, with status and progress, and the search for jobs.

import { ask } from './api.js';
import { bulk } from './bulk.js';
import { h, keyed, replace, setAttribute, setText } from './dom.js';
import { isExact } from './exact.js';
import { chips, isSearch, search, searched } from './find.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { badge, bar, choice, heading, lasting, select, showTrouble, when } from './parts.js';
import { poll } from './poll.js';
import { link, note } from './router.js';

const EVERY = 3000;
const PAGE = 50;
const WINDOWS = [['1', 'Last hour'], ['24', 'Last day'], ['168', 'Last week'], ['any', 'Any time']];
// A time before the first job: the list without a time is that of the last week.
const EVER = '1970-01-01';
const STATUSES = ['', 'queued', 'paused', 'processing', 'completed', 'failed', 'cancelled']
  .map((name) => [name, name === '' ? 'All' : format.status(name).label]);
const PATHS = [['', 'Both paths'], ['queue_storage', 'Storage Queue'], ['service_bus', 'Service Bus']];

export function jobs({ signal, query, onRefresh }) {
  const filters = {
    status: query.get('status') ?? '', job_type: query.get('type') ?? '',
    processing_path: query.get('path') ?? '', hours: query.get('hours') ?? '',
  };
  let found = searched(query);
  // All shown pages are polled, so that each job is current; the interval grows with the number of pages.
  let shown = [], pages = 1, cursor = null, isMoreWanted = false;
  let empty = '';

  const body = h('tbody', { role: 'rowgroup' });
  const table = h('table', { class: 'jobs cards', role: 'table', 'aria-label': 'Jobs' },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
      ['Status', 'Job', 'Progress', 'Stage', 'Path', 'Took', 'Submitted'].map((name) => h('th', { scope: 'col', role: 'columnheader' }, name)))),
    body);
  const notices = h('div', {});
  const more = h('button', { class: 'more', hidden: true, onclick: () => { isMoreWanted = true; poller.now(); } }, icon('more'), 'Older jobs');
  const summary = h('p', { class: 'faint', role: 'status' });

  const changed = (name, value) => {
    filters[name] = value;
    apply();
  };
  // Writes the filters to the address, and asks for the first page.
  const apply = () => {
    const { status, job_type: type, processing_path: path, hours } = filters;
    const { q, terms, from, to } = found;
    note(['jobs'], { status, type, path, hours, q, from, to, ...terms });
    hoursSelect.update(hoursOf(filters, found));
    setAttribute(hoursSelect.node, 'disabled', found.from || found.to ? '' : null);
    [pages, cursor, isMoreWanted] = [1, null, false];
    more.hidden = true;
    // Until the response arrives, the rows are those of the previous filters.
    table.setAttribute('aria-busy', 'true');
    poller.now();
  };
  const statusChoice = choice({ label: 'Status', options: STATUSES, value: filters.status, onchange: (value) => changed('status', value) });
  const typeSelect = select({
    label: 'Job type', value: filters.job_type, onchange: (value) => changed('job_type', value),
    options: [['', 'All job types'], ...(filters.job_type ? [[filters.job_type, filters.job_type]] : [])],
  });
  const pathSelect = select({ label: 'Path', value: filters.processing_path, options: PATHS, onchange: (value) => changed('processing_path', value) });
  const hoursSelect = select({
    label: 'Submitted within', value: hoursOf(filters, found), options: WINDOWS,
    onchange: (value) => changed('hours', value === hoursOf({ hours: '' }, found) ? '' : value),
  });
  setAttribute(hoursSelect.node, 'disabled', found.from || found.to ? '' : null);
  const find = search(found, (next) => {
    found = next;
    apply();
  });
  let types = null;
  const changes = bulk({ signal, conditions: () => {
    const { q, terms, from, to } = found;
    const hours = hoursOf(filters, found);
    const since = hours === 'any' ? undefined : new Date(Date.now() - Number(hours) * 3600e3).toISOString();
    const { status, job_type, processing_path } = filters;
    const all = { status, job_type, processing_path, from: from || since || (isSearch(found) ? '' : EVER), to, q, ...terms };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value));
  } });

  const askFor = (at, stop) => {
    const { q, terms, from, to } = found;
    const hours = hoursOf(filters, found);
    const time = from || to ? { from, to } : hours !== 'any' ? { hours } : isSearch(found) ? {} : { from: EVER };
    const { status, job_type, processing_path } = filters;
    return ask('db/jobs', { query: { status, job_type, processing_path, ...time, q, ...terms, limit: PAGE, cursor: at }, signal: stop, hasData: true });
  };

  const poller = poll(async (stop) => {
    if (isMoreWanted && cursor !== null) {
      const { jobs: page, query_info: info } = await askFor(cursor, stop);
      [shown, pages, cursor, isMoreWanted] = [[...shown, ...page], pages + 1, info.next_cursor, false];
    } else {
      let all = [], at = null, turned = 0;
      do {
        const { jobs: page, query_info: info } = await askFor(at, stop);
        [all, at, turned] = [[...all, ...page], info.next_cursor, turned + 1];
      } while (at !== null && turned < pages);
      [shown, pages, cursor, isMoreWanted] = [all, turned, at, false];
    }
    draw();
    // Only after a successful response: without a key this request would fail.
    types ??= nameTypes(typeSelect, () => filters.job_type, signal).catch(() => { types = null; });
    return EVERY * pages;
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind === 'unreachable' && shown.length > 0) return;
    empty = '';
    showTrouble(notices, problem, () => poller.now());
  } });
  onRefresh(() => poller.now());

  function draw() {
    keyed(body, shown, (job) => job.job_id, (job) => row(job, find.add));
    table.hidden = shown.length === 0;
    table.setAttribute('aria-busy', 'false');
    const hadFocus = document.activeElement === more;
    more.hidden = cursor === null;
    if (hadFocus && more.hidden) [...body.querySelectorAll('.row-link')].at(-1)?.focus();
    setText(summary, shown.length === 0 ? '' : `${format.plural(shown.length, 'job')} shown${cursor === null ? '' : ', newest first'}`);
    const key = shown.length === 0 ? JSON.stringify([filters, found, cursor === null]) : '';
    // Unchanged text is not drawn again, so that the focus stays.
    if (key !== empty || key === '') replace(notices, key === '' ? null : nothing(filters, found, cursor !== null));
    empty = key;
  }

  return h('section', { class: 'view' },
    heading('Jobs', h('a', { class: 'button primary', href: '#/submit' }, icon('submit'), 'Submit a job')),
    find.node,
    h('div', { class: 'filters' }, statusChoice.node, h('span', { class: 'spacer' }), typeSelect.node, pathSelect.node, hoursSelect.node, changes.node),
    changes.progress, notices, table, h('div', { class: 'list-foot' }, summary, more));
}

// The chosen period: without a choice the last week, of a search any time. Days replace it.
function hoursOf({ hours }, found) {
  if (found.from || found.to) return 'any';
  return hours || (isSearch(found) ? 'any' : '168');
}

// Fills the filter with the job types of the app.
export async function nameTypes(typeSelect, current, signal) {
  const { job_types: types } = await ask('jobs/types', { signal });
  const names = new Set(types.map((type) => type.name));
  if (current()) names.add(current());
  typeSelect.update(current(), [['', 'All job types'], ...[...names].map((name) => [name, name])]);
}

// The app searches a bounded number of jobs per response: there may be older ones that it has not searched.
function nothing(filters, found, areOlder) {
  const isFiltered = filters.status || filters.job_type || filters.processing_path || isSearch(found) || found.from || found.to;
  const hours = hoursOf(filters, found);
  const period = (WINDOWS.find(([value]) => value === hours)?.[1] ?? 'Last week').toLowerCase();
  const time = hours === 'any' ? '' : ` in the ${period}`;
  return h('div', { class: 'empty' },
    h('h2', {}, areOlder ? 'No matching job so far' : isFiltered ? `No matching job${time}` : `No jobs${time}`),
    h('p', {}, areOlder ? 'Older jobs were not searched yet.'
      : isFiltered ? 'No job matches these filters.' : 'Submitted jobs appear here, newest first.'),
    h('a', { class: 'button', href: '#/submit' }, icon('submit'), 'Submit a job'));
}

// The parameters in one line: without `use_service_bus`, and nested values only by their size.
export function gist(parameters) {
  const isNested = ([, value]) => typeof value === 'object' && !isExact(value);
  const shown = Object.entries(parameters ?? {}).filter(([name, value]) => name !== 'use_service_bus' && value !== null);
  shown.sort((one, other) => isNested(one) - isNested(other));
  return shown.map(([name, value]) => `${name} ${inShort(value)}`).join(' · ').slice(0, 160);
}

function inShort(value) {
  if (Array.isArray(value)) return `[${format.count(value.length)}]`;
  if (typeof value === 'object' && !isExact(value)) return '{…}';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export const statusOf = (job) => (!format.isOver(job.status) && job.paused_at ? 'paused' : job.status);

function row(job, addTerm) {
  const name = h('a', { class: 'row-link', href: link(['jobs', job.job_id]), 'data-row': true }, job.job_type);
  const state = badge(statusOf(job));
  const progress = bar(`Progress of ${job.job_type} ${format.shortId(job.job_id)}`);
  const numbers = h('span', { class: 'num' });
  const failed = h('span', { class: 'num bad-text' });
  const stage = h('td', { role: 'cell', class: 'num', 'data-name': 'Stage' });
  const took = lasting(job.created_at, job.finished_at);
  const submitted = when(job.created_at);
  const reason = h('span', {});
  const node = h('tr', { role: 'row' },
    h('td', { role: 'cell', class: 'cell-status' }, state.node),
    h('td', { role: 'cell', class: 'cell-job' },
      h('div', { class: 'two-lines' }, h('span', { class: 'line' }, name, h('code', { class: 'faint' }, format.shortId(job.job_id))),
        h('span', { class: 'gist' }, reason, gist(job.parameters)),
        job.labels ? h('span', { class: 'chips' }, chips(job.labels, addTerm)) : null)),
    h('td', { role: 'cell', class: 'cell-progress' }, progress.node, h('span', { class: 'line small' }, numbers, failed)),
    stage,
    h('td', { role: 'cell', class: 'muted nowrap', 'data-name': 'Path' }, format.path(job.processing_path)),
    h('td', { role: 'cell', class: 'nowrap', 'data-name': 'Took' }, took.node),
    h('td', { role: 'cell', class: 'muted nowrap num', 'data-name': 'Submitted' }, submitted.node));
  return {
    node,
    update(next) {
      state.update(statusOf(next));
      const isOver = format.isOver(next.status);
      const { total, completed, failed: bad } = next;
      progress.update({
        ...next, isOver,
        // Later stages are not planned yet: the known tasks are this fraction of the job.
        reach: next.status === 'completed' ? 1 : next.stage / next.total_stages,
        label: `${format.count(completed)} of ${format.count(total)} tasks completed, ${format.count(bad)} failed`,
      });
      setText(numbers, total > 0 ? `${format.count(completed)} / ${format.count(total)}` : isOver ? 'no tasks' : 'not planned yet');
      setText(failed, bad > 0 ? `${format.count(bad)} failed` : '');
      setText(stage, `${next.stage} / ${next.total_stages}`);
      took.update(next.created_at, isOver ? (next.finished_at ?? next.updated_at) : null);
      submitted.update(next.created_at);
      setAttribute(reason, 'class', next.status === 'cancelled' ? 'muted reason' : 'bad-text reason');
      setText(reason, next.error_details ? `${next.error_details.split('\n')[0].slice(0, 160)}` : '');
      setAttribute(reason, 'hidden', next.error_details ? null : '');
      setAttribute(node, 'data-status', next.status);
    },
  };
}
