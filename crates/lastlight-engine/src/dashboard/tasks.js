// A job's tasks, in pages of 50 rows: failed ones first, each with its attempt and its error, and with all details on
// request.

import { ask } from './api.js';
import { h, keyed, newId, redraw, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { badge, choice, confirm, facts, id, lasting, select, showTrouble, toast, when } from './parts.js';

const PAGE = 50;
const STATUSES = ['failed', 'processing', 'retrying', 'queued', 'pending_queue', 'completed', 'skipped'];

const keyOf = (task) => `${task.stage}/${task.task_id}`;

// `changed(filters)` is called when the user changes a filter. `update` takes the job's progress and reloads the page.
export function taskList({ jobId, signal, filters, changed }) {
  // The start of this page and of all pages before it: each entry is { failed: in the first part, cursor }.
  let trail = [], next = null, known = [], round = null, isWanted = false, hasShown = false;
  // The rows shown, and the keys of those that the user has opened.
  let shown = [];
  const opened = new Set();

  const head = h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
    ['Status', 'Task', 'Stage', 'Attempt', 'Ran', 'Last change', 'Outcome'].map((name) =>
      h('th', { scope: 'col', role: 'columnheader' }, name))));
  const table = h('table', { class: 'tasks cards', role: 'table', 'aria-label': 'Tasks' }, head);
  const notices = h('div', {});
  const place = h('span', { class: 'faint num' });
  const back = h('button', { type: 'button', disabled: true, 'aria-label': 'Back one page', onclick: () => turn(-1) }, icon('previous'), 'Back');
  const on = h('button', { type: 'button', disabled: true, 'aria-label': 'Next page', onclick: () => turn(1) }, 'Next', icon('next'));
  const statusChoice = choice({ label: 'Status of the tasks', options: options(), value: filters.status, onchange: (value) => choose('status', value) });
  const stageSelect = select({ label: 'Stage', options: stages(), value: filters.stage, onchange: (value) => choose('stage', value) });

  // Without a filter, failed tasks come first, then all others.
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
    return [['', known.some(({ node: place }) => place) ? 'All nodes' : 'All stages'], ...known.map(({ stage, taskType, node: place }) => [String(stage), place || taskType ? `${stage}  ${place?.name ?? taskType}` : `Stage ${stage}`])];
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
    if (by > 0 && next) {
      trail = [...trail, next];
      // The start of the page after that one is known when that one is loaded.
      next = null;
    } else if (by < 0 && trail.length > 1) trail = trail.length === 2 ? [start()] : trail.slice(0, -1);
    else return;
    load({ isNew: true });
  }

  const askFor = (status, cursor, limit, stop) => ask(`db/tasks/${encodeURIComponent(jobId)}`, {
    query: { limit, status, stage: filters.stage, cursor }, signal: stop, hasData: true,
  });

  // One page: its rows, and the start of the next page. The app searches a bounded number of rows per response, so a
  // response may have few rows, or none, and not be the last.
  async function page({ failed, cursor }, stop) {
    const rows = [];
    let at = cursor, isFailed = failed;
    for (let tries = 0; rows.length < PAGE && tries < 8; tries += 1) {
      const status = isFailed ? 'failed' : filters.status;
      const answer = await askFor(status, at, PAGE - rows.length, stop);
      rows.push(...answer.tasks.filter((task) => isFailed || filters.status !== '' || task.status !== 'failed'));
      at = answer.query_info.next_cursor;
      if (at === null && isFailed) isFailed = false;
      else if (at === null) return { rows, next: null };
    }
    return { rows, next: { failed: isFailed, cursor: at } };
  }

  // isNew loads another page, isUrgent reloads the same page; both abort the request in flight instead of waiting for it.
  async function load({ isNew = false, isUrgent = false } = {}) {
    if (round !== null && !isNew && !isUrgent) {
      isWanted = true;
      return;
    }
    round?.abort();
    const own = new AbortController();
    round = own;
    isWanted = false;
    // Until the response arrives, the rows are those of another page.
    if (isNew) setAttribute(table, 'aria-busy', 'true');
    const stop = AbortSignal.any([signal, own.signal]);
    try {
      const got = await page(trail.at(-1), stop);
      next = got.next;
      draw(got.rows);
      replace(notices, got.rows.length === 0 ? h('p', { class: 'empty-line' }, emptyWords()) : null);
    } catch (problem) {
      if (!stop.aborted && (problem.kind !== 'unreachable' || !hasShown)) showTrouble(notices, problem, () => load());
    }
    if (own !== round) return;
    round = null;
    if (isWanted && !signal.aborted) load();
  }

  function emptyWords() {
    if (next) return 'No match among the tasks searched so far; there are more.';
    const place = filters.stage === '' ? undefined : inChosen()[0]?.node;
    if (place && place.kind !== 'tasks') return `The node ${place.name} has no tasks.`;
    if (filters.status || filters.stage) return 'No task matches.';
    return 'No tasks yet.';
  }

  function draw(rows) {
    hasShown = true;
    const here = new Set(rows.map(keyOf));
    const all = [...rows];
    // An opened row stays, even if it no longer matches the page.
    if (table.getAttribute('aria-busy') !== 'true') {
      shown.forEach((task, index) => {
        if (opened.has(keyOf(task)) && !here.has(keyOf(task))) all.splice(index, 0, { ...task, hasLeft: true });
      });
    }
    shown = all;
    keyed(table, all, keyOf, (task) => row(task, opened));
    for (const key of opened) if (!all.some((task) => keyOf(task) === key)) opened.delete(key);
    table.hidden = all.length === 0;
    setAttribute(table, 'aria-busy', 'false');
    const held = document.activeElement;
    back.disabled = trail.length === 1;
    on.disabled = !next;
    if (held === on && on.disabled) back.focus();
    if (held === back && back.disabled) on.focus();
    setText(place, rows.length === 0 ? '' : `Page ${format.count(trail.length)} · ${format.plural(rows.length, 'task')}`);
  }

  const node = h('div', { class: 'task-list' },
    h('div', { class: 'filters' }, statusChoice.node, h('span', { class: 'spacer' }), stageSelect.node),
    notices, table, h('div', { class: 'list-foot' }, place, h('span', { class: 'row' }, back, on)));
  return {
    node,
    choose,
    update(progress, isUrgent) {
      known = progress;
      drawFilters();
      // On the first page, tasks that failed in the meantime move to the top.
      if (trail.length <= 1) trail = [start()];
      load({ isUrgent });
    },
    // Updates only the counts, with every response; the rows are requested less often.
    count(progress) {
      known = progress;
      drawFilters();
    },
  };
}

function row(task, opened) {
  const detailId = newId('task');
  const state = badge(task.status);
  const attempt = h('span', {});
  const ran = lasting(task.started_at, task.finished_at);
  const changedAt = when(task.updated_at);
  const outcome = h('span', { class: 'outcome' });
  let current = task;
  const opener = h('button', {
    class: 'row-link as-link', type: 'button', 'aria-expanded': 'false', 'aria-controls': detailId, 'data-row': true,
    onclick: () => open(opener.getAttribute('aria-expanded') !== 'true'),
  }, icon('next'), h('code', {}, indexOf(task)));
  const blocks = details();
  const detail = h('div', { class: 'task-detail', id: detailId }, blocks.map((block) => block.node));
  const detailRow = h('tr', { class: 'detail-row', role: 'row', hidden: true }, h('td', { colspan: 7, role: 'cell' }, detail));
  const line = h('tr', { role: 'row', class: 'task-row' },
    h('td', { role: 'cell', class: 'cell-status' }, state.node),
    h('td', { role: 'cell', class: 'cell-job' }, opener),
    h('td', { role: 'cell', class: 'num', 'data-name': 'Stage' }, task.stage),
    h('td', { role: 'cell', class: 'num', 'data-name': 'Attempt' }, attempt),
    h('td', { role: 'cell', class: 'num nowrap', 'data-name': 'Ran' }, ran.node),
    h('td', { role: 'cell', class: 'muted nowrap num', 'data-name': 'Last change' }, changedAt.node),
    h('td', { role: 'cell', class: 'cell-outcome' }, outcome));
  const drawDetail = () => { for (const block of blocks) block.update(current); };
  function open(isOpen) {
    setAttribute(opener, 'aria-expanded', isOpen);
    detailRow.hidden = !isOpen;
    line.classList.toggle('open', isOpen);
    if (isOpen) opened.add(keyOf(task));
    else opened.delete(keyOf(task));
    if (isOpen) drawDetail();
  }
  // A table body groups the two rows of one task.
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
      const doing = progressOf(next);
      setText(outcome, doing ?? (failed ? failed.split('\n')[0].slice(0, 240) : inOneLine(next.result_data)));
      setAttribute(outcome, 'data-tone', failed && !doing ? (next.status === 'failed' ? 'bad' : 'warn') : null);
      setAttribute(line, 'data-status', next.status);
      line.classList.toggle('has-left', next.hasLeft === true);
      if (!detailRow.hidden) drawDetail();
    },
  };
}

const indexOf = (task) => String(task.task_index ?? task.task_id);

// What a running attempt says about itself, or null.
function progressOf(task) {
  if (task.status !== 'processing') return null;
  const share = typeof task.progress === 'number' ? `${Math.round(task.progress * 100)} %` : null;
  return [share, task.message].filter(Boolean).join(' · ').slice(0, 240) || null;
}

function inOneLine(value) {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 240 ? `${text.slice(0, 240)}…` : text;
}

// The parts of a task's details. Each is redrawn only when its data has changed, so that a running task can be read.
function details() {
  const exact = (name, text) => [name, text ? when(text).node : null];
  const part = (className, read, draw) => {
    const node = h('section', { class: className });
    let drawn;
    return {
      node,
      update(task) {
        const now = JSON.stringify(read(task));
        if (now === drawn) return;
        drawn = now;
        const content = draw(task);
        node.hidden = content === null;
        redraw(node, content);
      },
    };
  };
  return [
    part('wide', (task) => task.hasLeft === true, (task) => (task.hasLeft
      ? h('p', { class: 'muted' }, 'This task no longer matches this page. Its last known state is shown.')
      : null)),
    part('wide', (task) => [task.status, task.error_details], (task) => (task.error_details
      ? [h('h3', {}, task.status === 'failed' ? 'Why it failed' : 'Why the last attempt failed'),
        h('pre', { class: 'error-text', tabindex: 0 }, task.error_details)]
      : null)),
    part('wide', (task) => task.status, (task) => (task.status === 'completed' ? null
      : h('p', { class: 'row actions' }, ['failed', 'skipped'].includes(task.status) ? action('retry', task) : null, action('skip', task)))),
    part(null, (task) => task, (task) => [h('h3', {}, 'Facts'), facts([
      ['Task', id(task.task_id, 'the task id')],
      ['Type', task.task_type],
      ['Attempts', `${task.attempt}${task.retry_count > 0 ? `, ${format.plural(task.retry_count, 'repeat')}` : ''}`],
      ['Batch', task.batch_id ? h('code', {}, task.batch_id.replace(task.parent_job_id, format.shortId(task.parent_job_id))) : null],
      ['Parent task', task.parent_task_id ? h('code', {}, task.parent_task_id) : null],
      ['Progress', progressOf(task)],
      ['Worker', task.worker_id],
      exact('Planned', task.created_at), exact('Started', task.started_at), exact('Finished', task.finished_at),
      exact('Next attempt', task.due_at), exact('Lease until', task.lease_until),
    ]).node]),
    part(null, (task) => task.parameters, (task) => [h('h3', {}, 'Parameters'),
      json(task.parameters, { what: 'the task’s parameters', empty: 'None.' })]),
    part(null, (task) => [task.status, task.result_data], (task) => [h('h3', {}, 'Result'),
      json(task.result_data, { what: 'the task’s result', empty: ['failed', 'skipped'].includes(task.status) ? 'None.' : 'None yet.' })]),
    logPart(),
  ];
}

const QUESTIONS = {
  retry: {
    label: 'Run this task again', text: 'It gets new attempts. That is possible while its stage has not ended; otherwise retry the job.',
  },
  skip: {
    label: 'Skip this task', text: 'It will not run again, and its stage ends without it. If the job failed, retry it then to go on without this task.',
  },
};

// A button that retries or skips one task.
function action(verb, task) {
  const { label, text } = QUESTIONS[verb];
  return h('button', { type: 'button', async onclick({ currentTarget: button }) {
    if (!await confirm({ title: `${label}?`, text, action: verb === 'retry' ? 'Run again' : 'Skip', isGrave: verb === 'skip' })) return;
    button.disabled = true;
    try {
      const answer = await ask(`tasks/${verb}`, { json: { job_id: task.parent_job_id, task_id: task.task_id } });
      toast('ok', answer.message);
    } catch (problem) {
      toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
    button.disabled = false;
  } }, icon(verb), label);
}

// The log of the last attempt and the checkpoint, which the lists do not contain: read when the details are opened and
// whenever the task has changed.
function logPart() {
  const node = h('section', { class: 'wide', hidden: true });
  let read;
  return {
    node,
    async update(task) {
      const state = `${task.attempt} ${task.status} ${task.progress} ${task.message} ${task.updated_at}`;
      if (state === read) return;
      read = state;
      try {
        const { log, checkpoint } = await ask(`db/tasks/${task.parent_job_id}/${encodeURIComponent(task.task_id)}`, { hasData: true });
        node.hidden = log === null && checkpoint === null;
        redraw(node,
          log && [h('h3', {}, `Log of attempt ${log.attempt}`), h('pre', { class: 'log-text', tabindex: 0 }, log.text)],
          checkpoint !== null && [h('h3', {}, 'Checkpoint'), json(checkpoint, { what: 'the task’s checkpoint', empty: 'None.' })]);
      } catch {
        // An older app has no such answer; the list itself reports an app that is gone.
        read = undefined;
      }
    },
  };
}
