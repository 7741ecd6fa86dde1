// A job's tasks, a page at a time: failed ones first, each with its attempt and its error, and all of it on request.
// A page is 50 rows, however many tasks there are.

import { ask } from './api.js';
import { h, keyed, newId, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { badge, choice, facts, id, lasting, select, trouble, when } from './parts.js';

const PAGE = 50;
const STATUSES = ['failed', 'processing', 'retrying', 'queued', 'pending_queue', 'completed', 'skipped'];

// `changed(filters)` is told what the person chose. `update` takes the job's state and asks for the page again.
export function taskList({ jobId, signal, filters, changed }) {
  // Where the page begins, and how to come back: each entry is { failed: in the first part, cursor }.
  let trail = [], next = null, known = [], isAsking = false, isWanted = false, hasShown = false;

  const head = h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
    ['Status', 'Task', 'Stage', 'Attempt', 'Ran', 'Last change', 'What came of it'].map((name) =>
      h('th', { scope: 'col', role: 'columnheader' }, name))));
  const table = h('table', { class: 'tasks cards', role: 'table', 'aria-label': 'Tasks' }, head);
  const notices = h('div', {});
  const place = h('span', { class: 'faint num' });
  const back = h('button', { type: 'button', 'aria-label': 'Back one page', onclick: () => turn(-1) }, icon('previous'), 'Back');
  const on = h('button', { type: 'button', 'aria-label': 'Next page', onclick: () => turn(1) }, 'Next', icon('next'));
  const statusChoice = choice({ label: 'Status of the tasks', options: options(), value: filters.status, onchange: (value) => choose('status', value) });
  const stageSelect = select({ label: 'Stage', options: stages(), value: filters.stage, onchange: (value) => choose('stage', value) });

  // Without a filter what failed comes first: the failed tasks, then all the others.
  function start() {
    return { failed: filters.status === '' && inChosen().some((stage) => stage.failed > 0), cursor: null };
  }

  function inChosen() {
    return known.filter(({ stage }) => filters.stage === '' || String(stage) === filters.stage);
  }

  function options() {
    const counts = {};
    for (const stage of inChosen()) {
      for (const [status, field] of [['failed', 'failed'], ['completed', 'completed'], ['skipped', 'skipped'], ['processing', 'running'], ['pending_queue', 'pendingQueue']]) {
        if (typeof stage[field] === 'number') counts[status] = (counts[status] ?? 0) + stage[field];
      }
    }
    const offered = STATUSES.filter((status) => status === filters.status || !(counts[status] === 0));
    return [['', 'All, failed first'], ...offered.map((status) =>
      [status, format.status(status).label, counts[status] > 0 ? format.count(counts[status]) : ''])];
  }

  function stages() {
    return [['', 'All stages'], ...known.map(({ stage, taskType }) => [String(stage), taskType ? `${stage}  ${taskType}` : `Stage ${stage}`])];
  }

  function choose(name, value) {
    filters[name] = value;
    trail = [start()];
    changed(filters);
    drawFilters();
    load({ isNew: true });
  }

  function drawFilters() {
    statusChoice.update(filters.status, options());
    stageSelect.update(filters.stage, stages());
  }

  function turn(by) {
    if (by > 0 && next) trail = [...trail, next];
    else if (by < 0 && trail.length > 1) trail = trail.slice(0, -1);
    else return;
    load({ isNew: true });
  }

  const askFor = (status, cursor, limit) => ask(`db/tasks/${encodeURIComponent(jobId)}`, {
    query: { limit, status, stage: filters.stage, cursor }, signal,
  });

  // One page: rows, and where the next one begins. The app looks at a bounded number of rows for one answer, so an answer
  // may have few rows, or none, and still not be the last.
  async function page({ failed, cursor }) {
    const rows = [];
    let at = cursor, isFailed = failed;
    for (let tries = 0; rows.length < PAGE && tries < 8; tries += 1) {
      const status = isFailed ? 'failed' : filters.status;
      const answer = await askFor(status, at, PAGE - rows.length);
      rows.push(...answer.tasks.filter((task) => isFailed || filters.status !== '' || task.status !== 'failed'));
      at = answer.query_info.next_cursor;
      if (at === null && isFailed) isFailed = false;
      else if (at === null) return { rows, next: null };
    }
    return { rows, next: { failed: isFailed, cursor: at } };
  }

  async function load({ isNew = false } = {}) {
    if (isAsking) {
      isWanted = true;
      return;
    }
    isAsking = true;
    if (isNew) table.setAttribute('aria-busy', 'true');
    try {
      const got = await page(trail.at(-1));
      next = got.next;
      draw(got.rows);
      replace(notices, got.rows.length === 0 ? h('p', { class: 'empty-line' }, emptyWords()) : null);
    } catch (problem) {
      if (!signal.aborted && (problem.kind !== 'unreachable' || !hasShown)) replace(notices, trouble(problem, () => load()));
    } finally {
      isAsking = false;
      table.setAttribute('aria-busy', 'false');
    }
    if (isWanted && !signal.aborted) {
      isWanted = false;
      load();
    }
  }

  function emptyWords() {
    if (next) return 'None among the tasks looked at so far; there are more.';
    if (filters.status || filters.stage) return 'No task is like that.';
    return 'No tasks yet.';
  }

  function draw(rows) {
    hasShown = true;
    keyed(table, rows, (task) => `${task.stage}/${task.task_id}`, row);
    table.hidden = rows.length === 0;
    back.disabled = trail.length === 1;
    on.disabled = !next;
    setText(place, rows.length === 0 ? '' : `Page ${format.count(trail.length)} · ${format.plural(rows.length, 'task')}`);
  }

  const node = h('div', { class: 'task-list' },
    h('div', { class: 'filters' }, statusChoice.node, h('span', { class: 'spacer' }), stageSelect.node),
    notices, table, h('div', { class: 'list-foot' }, place, h('span', { class: 'row' }, back, on)));
  return {
    node,
    choose,
    update(progress) {
      known = progress;
      drawFilters();
      // On the first page what failed meanwhile comes to the top.
      if (trail.length <= 1) trail = [start()];
      load();
    },
    // The counts alone: for every answer, where the rows are asked for less often.
    count(progress) {
      known = progress;
      drawFilters();
    },
  };
}

function row(task) {
  const detailId = newId('task');
  const state = badge(task.status);
  const attempt = h('span', {});
  const ran = lasting(task.started_at, task.finished_at);
  const changedAt = when(task.updated_at);
  const outcome = h('span', { class: 'outcome' });
  let current = task, drawn = '';
  const opener = h('button', {
    class: 'row-link as-link', type: 'button', 'aria-expanded': 'false', 'aria-controls': detailId, 'data-row': true,
    onclick: () => open(opener.getAttribute('aria-expanded') !== 'true'),
  }, icon('next'), h('code', {}, indexOf(task)));
  const detail = h('div', { class: 'task-detail', id: detailId });
  const detailRow = h('tr', { class: 'detail-row', role: 'row', hidden: true }, h('td', { colspan: 7, role: 'cell' }, detail));
  const line = h('tr', { role: 'row', class: 'task-row' },
    h('td', { role: 'cell', class: 'cell-status' }, state.node),
    h('td', { role: 'cell', class: 'cell-job' }, opener),
    h('td', { role: 'cell', class: 'num', 'data-name': 'Stage' }, task.stage),
    h('td', { role: 'cell', class: 'num', 'data-name': 'Attempt' }, attempt),
    h('td', { role: 'cell', class: 'num nowrap', 'data-name': 'Ran' }, ran.node),
    h('td', { role: 'cell', class: 'muted nowrap num', 'data-name': 'Last change' }, changedAt.node),
    h('td', { role: 'cell', class: 'cell-outcome' }, outcome));
  function open(isOpen) {
    setAttribute(opener, 'aria-expanded', isOpen);
    detailRow.hidden = !isOpen;
    line.classList.toggle('open', isOpen);
    if (isOpen) drawDetail();
  }
  function drawDetail() {
    const now = JSON.stringify(current);
    if (now !== drawn) replace(detail, details(current));
    drawn = now;
  }
  // Two rows that go together: a table body takes them as one group.
  const node = h('tbody', { role: 'rowgroup', class: 'task-group' }, line, detailRow);
  return {
    node,
    update(next) {
      current = next;
      state.update(next.status);
      setText(attempt, next.attempt > 0 ? next.attempt : format.NOTHING);
      ran.update(next.started_at, next.status === 'processing' ? null : (next.finished_at ?? (next.started_at ? next.updated_at : null)));
      changedAt.update(next.updated_at);
      const failed = next.error_details;
      setText(outcome, failed ? failed.split('\n')[0].slice(0, 240) : inOneLine(next.result_data));
      setAttribute(outcome, 'data-tone', failed ? (next.status === 'failed' ? 'bad' : 'warn') : null);
      setAttribute(line, 'data-status', next.status);
      if (!detailRow.hidden) drawDetail();
    },
  };
}

const indexOf = (task) => String(task.task_index ?? task.task_id);

function inOneLine(value) {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 240 ? `${text.slice(0, 240)}…` : text;
}

function details(task) {
  const exact = (name, text) => [name, text ? when(text).node : null];
  return [
    task.error_details
      ? h('section', { class: 'wide' }, h('h3', {}, task.status === 'failed' ? 'Why it failed' : 'Why the last attempt failed'),
        h('pre', { class: 'error-text', tabindex: 0 }, task.error_details))
      : null,
    h('section', {}, h('h3', {}, 'Facts'), facts([
      ['Task', id(task.task_id, 'the task id')],
      ['Type', task.task_type],
      ['Attempts', `${task.attempt}${task.retry_count > 0 ? `, ${format.plural(task.retry_count, 'repeat')}` : ''}`],
      ['Batch', task.batch_id ? h('code', {}, task.batch_id.replace(task.parent_job_id, format.shortId(task.parent_job_id))) : null],
      ['Follows', task.parent_task_id ? h('code', {}, task.parent_task_id) : null],
      exact('Planned', task.created_at), exact('Began', task.started_at), exact('Ended', task.finished_at),
      exact('Next attempt', task.due_at), exact('Lease until', task.lease_until),
    ]).node),
    h('section', {}, h('h3', {}, 'Parameters'), json(task.parameters, { what: 'the task’s parameters', empty: 'None.' })),
    h('section', {}, h('h3', {}, 'Result'), json(task.result_data, { what: 'the task’s result', empty: ['failed', 'skipped'].includes(task.status) ? 'None.' : 'None yet.' })),
  ];
}
