// One job: status, stages, tasks, results, audit, and the actions on it.

import { ask } from './api.js';
import { h, keyed, newId, redraw, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { announce, badge, confirm, id, lasting, notice, showTrouble, toast, when } from './parts.js';
import { poll } from './poll.js';
import { note } from './router.js';
import { gist } from './jobs.js';
import { stageList } from './stages.js';
import { taskList } from './tasks.js';

// The app responds when the job has changed, or after this many seconds, since rates and running tasks change in between.
const WAIT = 5;
// Minimum interval between requests in milliseconds: a fast job changes all the time.
const EVERY = 700;
const TASKS_EVERY = 3000;
const TABS = [['tasks', 'Tasks'], ['parameters', 'Parameters'], ['results', 'Results'], ['audit', 'Audit']];

export function job({ signal, query, parts: [jobId], title, onRefresh }) {
  let current = null, tasksAt = 0, tasksWanted;
  const tab = TABS.some(([name]) => name === query.get('tab')) ? query.get('tab') : 'tasks';
  const view = { tab, status: query.get('status') ?? '', stage: query.get('stage') ?? '' };
  const keepAddress = () => note(['jobs', jobId], { tab: view.tab === 'tasks' ? '' : view.tab, status: view.status, stage: view.stage });

  const name = h('h1', { tabindex: -1 }, 'Job');
  const state = badge('queued');
  const actions = h('div', { class: 'row actions' });
  const subtitle = h('p', { class: 'gist' });
  const figures = h('dl', { class: 'figures' });
  const notices = h('div', {});
  const reason = h('div', {});
  const stages = stageList((stage) => {
    tabs.open('tasks');
    tasks.choose('stage', String(stage));
    tasks.node.scrollIntoView({ block: 'nearest' });
  });
  const tasks = taskList({
    jobId, signal, filters: { status: view.status, stage: view.stage },
    changed({ status, stage }) {
      Object.assign(view, { status, stage });
      keepAddress();
    },
  });
  const parameters = h('div', {}), results = h('div', {}), audit = h('div', {});
  const tabs = tabPanels({ tasks: tasks.node, parameters, results, audit }, view.tab, (opened) => {
    view.tab = opened;
    keepAddress();
    if (opened === 'audit') showAudit();
    draw();
    if (current !== null) showTasks(true);
  });
  const content = h('div', { hidden: true },
    h('section', { 'aria-label': 'Stages' }, h('h2', {}, 'Stages'), stages.node), tabs.node);

  const poller = poll(async (stop, isAskedFor) => {
    const query = current === null || isAskedFor ? {} : { wait: WAIT, seen: current.version };
    const next = await ask(`jobs/status/${encodeURIComponent(jobId)}`, { query, signal: stop, hasData: true });
    const before = current;
    current = next;
    replace(notices);
    content.hidden = false;
    if (before && shownAs(before) !== shownAs(next)) announce(`The job is ${format.status(shownAs(next)).label.toLowerCase()}.`);
    draw();
    showTasks(before === null || isAskedFor || before.status !== next.status);
    // A finished job changes only when an operator acts on it.
    return format.isOver(next.status) ? 10_000 : EVERY;
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind !== 'unreachable' || current === null) showTrouble(notices, problem, () => poller.now());
  } });
  onRefresh(() => {
    poller.now();
    if (view.tab === 'audit') showAudit();
  });

  // The rows are requested less often than the counts.
  function showTasks(isUrgent) {
    tasks.count(current.progress);
    if (view.tab !== 'tasks') return;
    clearTimeout(tasksWanted);
    const wait = isUrgent ? 0 : Math.max(0, tasksAt + TASKS_EVERY - Date.now());
    tasksWanted = setTimeout(() => {
      // When the browser tab is shown again, everything is requested again.
      if (signal.aborted || document.hidden) return;
      tasksAt = Date.now();
      tasks.update(current.progress, isUrgent);
    }, wait);
  }

  const took = lasting(null, null);
  const submitted = when(null);
  const until = when(null);
  function draw() {
    if (current === null) return;
    const isOver = format.isOver(current.status);
    const shown = shownAs(current);
    title(`${current.jobType} ${format.shortId(jobId)}`);
    setText(name, current.jobType);
    state.update(shown);
    setText(subtitle, gist(current.parameters));
    submitted.update(current.createdAt);
    took.update(current.createdAt, isOver ? (current.finishedAt ?? current.updatedAt) : null);
    until.update(current.deadline);
    const sums = { total: 0, completed: 0, failed: 0, skipped: 0 };
    for (const stage of current.progress) for (const key of Object.keys(sums)) sums[key] += stage[key];
    keyed(figures, [
      ['Tasks', `${format.count(sums.completed + sums.failed)} / ${format.count(sums.total)}`],
      ['Failed', format.count(sums.failed), sums.failed > 0 ? 'bad' : null],
      ['Stage', `${current.stage} of ${current.totalStages}`],
      [isOver ? 'Took' : 'Running for', took.node],
      ['Submitted', submitted.node],
      ['Path', format.path(current.processingPath)],
      ...(!isOver && current.deadline ? [['Deadline', until.node]] : []),
    ], ([key]) => (['Took', 'Running for'].includes(key) ? 'time' : key), figure);
    drawReason(shown);
    drawActions(isOver);
    stages.update(current.progress, current.totalStages, current.status);
    if (view.tab === 'parameters') drawOnce(parameters, current.parameters, 'the job’s parameters', 'None.');
    if (view.tab === 'results') drawResults();
  }

  function drawReason(shown) {
    const wanted = current.errorDetails ? 'error' : shown === 'paused' ? 'paused' : current.pauseRequested && !format.isOver(current.status) ? 'pausing' : '';
    const key = `${wanted}${current.errorDetails ?? ''}${current.status}`;
    if (reason.dataset.shown === key) return;
    reason.dataset.shown = key;
    const text = h('pre', { class: 'error-text', tabindex: 0 }, current.errorDetails ?? '');
    replace(reason,
      wanted === 'error' && current.status === 'cancelled' ? notice('info', 'The job was cancelled', text)
      : wanted === 'error' ? notice('bad', 'Why it failed', text,
        h('p', {}, 'The tasks below show each error, failed ones first. After the cause is fixed, Retry runs the unsuccessful tasks again.'))
      : wanted === 'paused' ? notice('warn', 'The job is paused', 'It continues with its next stage when it is resumed.')
      : wanted === 'pausing' ? notice('warn', 'The job will be paused', 'It pauses at the end of this stage. The tasks of this stage run to their end.')
      : null);
  }

  function drawActions(isOver) {
    const standsStill = current.pausedAt || current.pauseRequested;
    const offered = isOver
      ? (current.status === 'completed' ? [] : [['retry', 'Retry', 'primary']])
      : [standsStill ? ['resume', 'Resume', 'primary'] : ['pause', 'Pause', ''], ['cancel', 'Cancel', '']];
    keyed(actions, offered, ([action]) => action, ([action, label, kind]) => ({
      node: h('button', { type: 'button', class: kind, onclick: (event) => act(action, event.currentTarget) }, icon(action), label),
    }));
  }

  async function act(action, button) {
    if (!await confirm(QUESTIONS[action](current))) return;
    button.disabled = true;
    try {
      const answer = await ask(`jobs/${action}/${encodeURIComponent(jobId)}`, { method: 'POST' });
      toast('ok', answer.message);
    } catch (problem) {
      toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
    if (view.tab === 'audit') showAudit();
    // Keep the button disabled until the new state is known, so that the action is not requested twice.
    await poller.now();
    button.disabled = false;
    // The focused button was disabled, or is no longer shown.
    if (!signal.aborted && document.activeElement === document.body) (actions.querySelector('button') ?? name).focus();
  }

  function drawResults() {
    const whole = { results: current.stageResults, final: current.resultData ?? null };
    const key = JSON.stringify(whole);
    if (results.dataset.shown === key) return;
    results.dataset.shown = key;
    const begun = Object.entries(current.stageResults ?? {});
    replace(results,
      h('h3', {}, 'The job’s result'),
      json(current.resultData, { what: 'the job’s result', empty: format.isOver(current.status) ? 'The job has no result.' : 'The job has no result until it is finished.' }),
      begun.map(([stage, result]) => [h('h3', {}, `Stage ${stage}`), json(result, { what: `the results of stage ${stage}` })]));
  }

  let audits = 0;
  async function showAudit() {
    const asked = ++audits;
    if (!audit.hasChildNodes()) replace(audit, h('p', { class: 'faint' }, 'Counting every task of the job …'));
    setAttribute(audit, 'aria-busy', 'true');
    try {
      const books = await ask(`jobs/audit/${encodeURIComponent(jobId)}`, { signal });
      if (asked === audits) drawAudit(audit, books, showAudit);
    } catch (problem) {
      if (!signal.aborted && asked === audits) showTrouble(audit, problem, showAudit);
    } finally {
      if (asked === audits) setAttribute(audit, 'aria-busy', null);
    }
  }
  if (view.tab === 'audit') showAudit();

  return h('section', { class: 'view' },
    h('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }, h('a', { href: '#/jobs' }, 'Jobs'), h('span', { 'aria-hidden': 'true' }, '/'), id(jobId, 'the job id')),
    h('div', { class: 'view-head' }, h('div', { class: 'title-block' }, h('div', { class: 'line' }, name, state.node), subtitle), actions),
    notices, figures, reason, content);
}

const shownAs = (job) => (!format.isOver(job.status) && job.pausedAt ? 'paused' : job.status);

const QUESTIONS = {
  cancel: (job) => ({
    title: `Cancel this ${job.jobType} job?`, action: 'Cancel the job',
    text: ['Waiting tasks will not run. Running tasks are stopped, and their outcomes are discarded.', 'Retry can continue a cancelled job later.'],
  }),
  pause: () => ({
    title: 'Pause the job?', action: 'Pause', isGrave: false,
    text: 'It finishes its current stage, and starts no other until it is resumed.',
  }),
  resume: () => ({ title: 'Resume the job?', action: 'Resume', isGrave: false, text: 'It starts its next stage at once.' }),
  retry: (job) => ({
    title: 'Retry the unsuccessful tasks?', action: 'Retry', isGrave: false,
    text: `Failed and skipped tasks of stage ${job.stage} get new attempts. Completed tasks are kept.`,
  }),
};

function figure([, , tone]) {
  const label = h('dt', {});
  const value = h('dd', { class: 'num', 'data-tone': tone });
  return {
    node: h('div', {}, label, value),
    update([name, next, nextTone]) {
      setText(label, name);
      setAttribute(value, 'data-tone', nextTone);
      if (typeof next === 'string') setText(value, next);
      else if (value.firstChild !== next) replace(value, next);
    },
  };
}

function drawOnce(node, value, what, empty) {
  const key = JSON.stringify(value);
  if (node.dataset.shown === key) return;
  node.dataset.shown = key;
  replace(node, json(value, { what, empty }));
}

const BOOKS = [
  ['planned', 'Planned'], ['completed', 'Completed'], ['failed', 'Failed'], ['skipped', 'Skipped'], ['open', 'Open'],
  ['attempts', 'Attempts'], ['duplicatesAbsorbed', 'Duplicates ignored'], ['staleCompletionsRefused', 'Late outcomes rejected'],
  ['messagesSent', 'Messages'], ['messagesResent', 'Resent'], ['batchesOwed', 'Unsent batches'],
];

function drawAudit(node, books, again) {
  redraw(node,
    notice(books.consistent ? 'ok' : 'bad', books.consistent ? 'The audit is consistent' : 'The audit found differences',
      books.consistent
        ? 'In every stage, planned = completed + failed + skipped + open, and the counters equal a recount of the tasks.'
        : 'A recount of the tasks differs from the counters. The sweep (reconcile) repairs counters; audit again in a minute.'),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Audit' }, h('table', { class: 'plain' },
      h('caption', { class: 'unseen' }, 'Audit of each stage'),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Stage'), BOOKS.map(([, label]) => h('th', { scope: 'col', class: 'right' }, label)), h('th', { scope: 'col' }, 'Counters'))),
      h('tbody', {}, books.stages.map((stage) => h('tr', {},
        h('th', { scope: 'row' }, stage.stage),
        BOOKS.map(([field]) => h('td', { class: 'num right', 'data-tone': field === 'failed' && stage[field] > 0 ? 'bad' : null }, format.count(stage[field]))),
        h('td', { 'data-tone': stage.countersAgree ? 'ok' : 'bad' }, stage.countersAgree ? 'agree' : 'differ')))))),
    h('p', { class: 'line' }, h('button', { type: 'button', onclick: again }, 'Count again'),
      h('span', { class: 'faint' }, when(new Date().toISOString(), { prefix: 'Counted ' }).node)));
}

// Tabs as in the ARIA Authoring Practices: one tab stop, arrow keys move between them.
function tabPanels(panels, opened, changed) {
  const prefix = newId('tab');
  const buttons = new Map(), frames = new Map();
  for (const [name, label] of TABS) {
    buttons.set(name, h('button', {
      type: 'button', role: 'tab', id: `${prefix}-${name}`, 'aria-controls': `${prefix}-${name}-panel`, onclick: () => open(name),
    }, label));
    frames.set(name, h('div', { role: 'tabpanel', id: `${prefix}-${name}-panel`, 'aria-labelledby': `${prefix}-${name}` }, panels[name]));
  }
  const names = [...buttons.keys()];
  const strip = h('div', {
    role: 'tablist', 'aria-label': 'About the job', class: 'tabs',
    onkeydown(event) {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const at = names.findIndex((name) => buttons.get(name) === document.activeElement);
      open(names[(at + by + names.length) % names.length]);
      buttons.get(now).focus();
    },
  }, [...buttons.values()]);
  let now = opened;
  function draw() {
    for (const name of names) {
      setAttribute(buttons.get(name), 'aria-selected', name === now);
      setAttribute(buttons.get(name), 'tabindex', name === now ? 0 : -1);
      frames.get(name).hidden = name !== now;
    }
  }
  function open(name) {
    if (name === now) return;
    now = name;
    draw();
    changed(name);
  }
  draw();
  return { node: h('section', { class: 'tabbed' }, strip, [...frames.values()]), open };
}
