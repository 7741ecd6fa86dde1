// One job: status, stages, tasks, results, audit, and the actions on it.

import { ask } from './api.js';
import { h, keyed, redraw, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { announce, badge, confirm, id, lasting, notice, showTrouble, toast, when } from './parts.js';
import { poll } from './poll.js';
import { note } from './router.js';
import { definition } from './definition.js';
import { chips } from './find.js';
import { gist } from './jobs.js';
import { ended, isGraph, nameOf, nodeView } from './nodes.js';
import { stageList } from './stages.js';
import { tabPanels } from './tabs.js';
import { taskList } from './tasks.js';
import { timeline } from './timeline.js';

// The app responds when the job has changed, or after this many seconds, since rates and running tasks change in between.
const WAIT = 5;
// Minimum interval between requests in milliseconds: a fast job changes all the time.
const EVERY = 700;
const TASKS_EVERY = 3000;
const TABS = [['tasks', 'Tasks'], ['parameters', 'Parameters'], ['results', 'Results'], ['timeline', 'Timeline'], ['audit', 'Audit'], ['definition', 'Definition']];

export function job({ signal, query, parts: [jobId], title, onRefresh }) {
  let current = null, tasksAt = 0, tasksWanted;
  const tab = TABS.some(([name]) => name === query.get('tab')) ? query.get('tab') : 'tasks';
  // `node` is the name of a node in the address until it is known which stage it is.
  const view = { tab, node: query.get('node') ?? '' };
  const filters = { status: query.get('status') ?? '', stage: query.get('stage') ?? '' };
  const keepAddress = () => {
    const node = view.node || nameOf(current, filters.stage);
    note(['jobs', jobId], { tab: view.tab === 'tasks' ? '' : view.tab, status: filters.status, stage: node ? '' : filters.stage, node });
  };

  const name = h('h1', { tabindex: -1 }, 'Job');
  const state = badge('queued');
  const actions = h('div', { class: 'row actions' });
  const subtitle = h('p', { class: 'gist' });
  const labels = h('p', { class: 'chips' });
  const figures = h('dl', { class: 'figures' });
  const notices = h('div', {});
  const reason = h('div', {});
  const choose = (stage) => {
    tabs.open('tasks');
    tasks.choose('stage', stage === null ? '' : String(stage));
  };
  const stages = stageList((stage) => {
    choose(stage);
    tasks.node.scrollIntoView({ block: 'nearest' });
  });
  const nodes = nodeView({ jobId, signal, choose, decided: () => poller.now() });
  const tasks = taskList({
    jobId, signal, filters,
    changed() {
      view.node = '';
      keepAddress();
      draw();
    },
  });
  const parameters = h('div', {}), results = h('div', {}), audit = h('div', {});
  const file = definition({ jobId, signal });
  const story = timeline({ jobId, signal });
  const tabs = tabPanels({
    label: 'About the job', tabs: TABS, panels: { tasks: tasks.node, parameters, results, timeline: story.node, audit, definition: file.node }, opened: view.tab,
    changed(opened) {
      view.tab = opened;
      keepAddress();
      if (opened === 'audit') showAudit();
      draw();
      if (current !== null) showTasks(true);
    },
  });
  const line = h('section', { 'aria-label': 'Stages' }, h('h2', {}, 'Stages'), stages.node);
  const content = h('div', { hidden: true }, line, nodes.node, tabs.node);

  const poller = poll(async (stop, isAskedFor) => {
    const query = current === null || isAskedFor ? {} : { wait: WAIT, seen: current.version };
    const next = await ask(`jobs/status/${encodeURIComponent(jobId)}`, { query, signal: stop, hasData: true });
    const before = current;
    current = next;
    replace(notices);
    content.hidden = false;
    findNode();
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
    if (view.tab === 'timeline' && current !== null) story.update(current);
  });

  // Selects the node that the address names.
  function findNode() {
    const named = view.node === '' ? undefined : current.progress.find(({ node }) => node?.name === view.node);
    if (named) [filters.stage, view.node] = [String(named.stage), ''];
  }

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
    const hasNodes = isGraph(current);
    title(`${current.jobType} ${format.shortId(jobId)}`);
    setText(name, current.jobType);
    state.update(shown);
    setText(subtitle, gist(current.parameters));
    // They never change.
    if (labels.childElementCount === 0) replace(labels, chips(current.labels));
    submitted.update(current.createdAt);
    took.update(current.createdAt, isOver ? (current.finishedAt ?? current.updatedAt) : null);
    until.update(current.deadline);
    const sums = { total: 0, completed: 0, failed: 0, skipped: 0 };
    for (const stage of current.progress) for (const key of Object.keys(sums)) sums[key] += stage[key];
    keyed(figures, [
      ['Tasks', `${format.count(sums.completed + sums.failed)} / ${format.count(sums.total)}`],
      ['Failed', format.count(sums.failed), sums.failed > 0 ? 'bad' : null],
      hasNodes ? ['Nodes', `${format.count(ended(current))} / ${format.count(current.progress.length)}`] : ['Stage', `${current.stage} of ${current.totalStages}`],
      [isOver ? 'Took' : 'Running for', took.node],
      ['Submitted', submitted.node],
      ['Path', format.path(current.processingPath)],
      ...(!isOver && current.deadline ? [['Deadline', until.node]] : []),
    ], ([key]) => (['Took', 'Running for'].includes(key) ? 'time' : key), figure);
    drawReason(shown);
    drawActions(isOver);
    line.hidden = hasNodes;
    nodes.node.hidden = !hasNodes;
    if (hasNodes) nodes.update(current, filters.stage, view.node);
    else stages.update(current.progress, current.totalStages, current.status);
    tabs.offer('definition', hasNodes);
    if (view.tab === 'parameters') drawOnce(parameters, current.parameters, 'the job’s parameters', 'None.');
    if (view.tab === 'results') drawResults();
    if (view.tab === 'timeline') drawTimeline();
    if (view.tab === 'definition' && hasNodes) file.update();
  }

  function drawReason(shown) {
    const wanted = current.errorDetails ? 'error' : shown === 'paused' ? 'paused' : current.pauseRequested && !format.isOver(current.status) ? 'pausing' : '';
    const key = `${wanted}${current.errorDetails ?? ''}${current.status}`;
    if (reason.dataset.shown === key) return;
    reason.dataset.shown = key;
    const text = h('pre', { class: 'error-text', tabindex: 0 }, current.errorDetails ?? '');
    replace(reason,
      wanted === 'error' && !format.isOver(current.status) ? notice('info', 'Its last node runs, and then the job ends', text)
      : wanted === 'error' && current.status === 'cancelled' ? notice('info', 'The job was cancelled', text)
      : wanted === 'error' ? notice('bad', 'Why it failed', text,
        h('p', {}, 'The tasks below show each error, failed ones first. After the cause is fixed, Retry runs the unsuccessful tasks again.'))
      : wanted === 'paused' ? notice('warn', 'The job is paused', `It continues with its next ${isGraph(current) ? 'nodes' : 'stage'} when it is resumed.`)
      : wanted === 'pausing' ? notice('warn', 'The job will be paused', isGraph(current)
        ? 'It pauses at the end of the nodes that run. Their tasks run to their end.'
        : 'It pauses at the end of this stage. The tasks of this stage run to their end.')
      : null);
  }

  function drawActions(isOver) {
    const standsStill = current.pausedAt || current.pauseRequested;
    const offered = isOver
      ? [...(current.status === 'completed' ? [] : [['retry', 'Retry', 'primary']]), ['resubmit', 'Run again', '']]
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
      begun.map(([stage, result]) => [h('h3', {}, nameOf(current, stage) ?? `Stage ${stage}`),
        json(result, { what: `the results of ${nameOf(current, stage) ?? `stage ${stage}`}` })]));
  }

  // The events change with the job's version, and less often than its counts.
  let drawnAt = 0;
  function drawTimeline() {
    const wait = format.isOver(current.status) ? 0 : drawnAt + TASKS_EVERY - Date.now();
    if (wait > 0) return;
    drawnAt = Date.now();
    story.update(current);
  }

  let audits = 0;
  async function showAudit() {
    const asked = ++audits;
    if (!audit.hasChildNodes()) replace(audit, h('p', { class: 'faint' }, 'Counting every task of the job …'));
    setAttribute(audit, 'aria-busy', 'true');
    try {
      const books = await ask(`jobs/audit/${encodeURIComponent(jobId)}`, { signal });
      if (asked === audits) drawAudit(audit, books, showAudit, (stage) => nameOf(current, stage));
    } catch (problem) {
      if (!signal.aborted && asked === audits) showTrouble(audit, problem, showAudit);
    } finally {
      if (asked === audits) setAttribute(audit, 'aria-busy', null);
    }
  }
  if (view.tab === 'audit') showAudit();

  return h('section', { class: 'view' },
    h('nav', { class: 'crumbs', 'aria-label': 'Breadcrumb' }, h('a', { href: '#/jobs' }, 'Jobs'), h('span', { 'aria-hidden': 'true' }, '/'), id(jobId, 'the job id')),
    h('div', { class: 'view-head' }, h('div', { class: 'title-block' }, h('div', { class: 'line' }, name, state.node), subtitle, labels), actions),
    notices, figures, reason, content);
}

const shownAs = (job) => (!format.isOver(job.status) && job.pausedAt ? 'paused' : job.status);

const QUESTIONS = {
  cancel: (job) => ({
    title: `Cancel this ${job.jobType} job?`, action: 'Cancel the job',
    text: ['Waiting tasks will not run. Running tasks are stopped, and their outcomes are discarded.', 'Retry can continue a cancelled job later.'],
  }),
  pause: (job) => ({
    title: 'Pause the job?', action: 'Pause', isGrave: false,
    text: isGraph(job) ? 'It finishes the nodes that run, and starts no other until it is resumed.'
      : 'It finishes its current stage, and starts no other until it is resumed.',
  }),
  resume: (job) => ({
    title: 'Resume the job?', action: 'Resume', isGrave: false, text: `It starts its next ${isGraph(job) ? 'nodes' : 'stage'} at once.`,
  }),
  resubmit: (job) => ({
    title: `Run this ${job.jobType} job again?`, action: 'Run again',
    text: ['It begins from its first stage, under the same id. Its tasks and their results are deleted.',
      'The job’s result so far stays in its timeline.'],
  }),
  retry: (job) => ({
    title: 'Retry the unsuccessful tasks?', action: 'Retry', isGrave: false,
    text: isGraph(job) ? 'Nodes that failed or had not ended run again: their failed and skipped tasks get new attempts. Completed tasks are kept.'
      : `Failed and skipped tasks of stage ${job.stage} get new attempts. Completed tasks are kept.`,
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

function drawAudit(node, books, again, named) {
  redraw(node,
    notice(books.consistent ? 'ok' : 'bad', books.consistent ? 'The audit is consistent' : 'The audit found differences',
      books.consistent
        ? 'In every stage, planned = completed + failed + skipped + open, and the counters equal a recount of the tasks.'
        : 'A recount of the tasks differs from the counters. The sweep (reconcile) repairs counters; audit again in a minute.'),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Audit' }, h('table', { class: 'plain' },
      h('caption', { class: 'unseen' }, 'Audit of each stage'),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Stage'), BOOKS.map(([, label]) => h('th', { scope: 'col', class: 'right' }, label)), h('th', { scope: 'col' }, 'Counters'))),
      h('tbody', {}, books.stages.map((stage) => h('tr', {},
        h('th', { scope: 'row' }, [stage.stage, named(stage.stage)].filter(Boolean).join(' ')),
        BOOKS.map(([field]) => h('td', { class: 'num right', 'data-tone': field === 'failed' && stage[field] > 0 ? 'bad' : null }, format.count(stage[field]))),
        h('td', { 'data-tone': stage.countersAgree ? 'ok' : 'bad' }, stage.countersAgree ? 'agree' : 'differ')))))),
    h('p', { class: 'line' }, h('button', { type: 'button', onclick: again }, 'Count again'),
      h('span', { class: 'faint' }, when(new Date().toISOString(), { prefix: 'Counted ' }).node)));
}
