// Schedules: when each is due next, what became of its last due time, and the actions on it.

import { ask } from './api.js';
import { h, keyed, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { badge, confirm, heading, notice, showTrouble, toast, when } from './parts.js';
import { poll } from './poll.js';

const EVERY = 5000;

export function schedules({ signal, onRefresh }) {
  const notices = h('div', {});
  const state = h('p', { class: 'muted', role: 'status' });
  const list = h('ul', { class: 'plain-list schedules' });

  const poller = poll(async (stop) => {
    const answer = await ask('schedules', { signal: stop });
    replace(notices);
    setText(state, answer.schedules.length === 0
      ? 'There are no schedules. A workflow file declares them, and lastlight schedule set makes one.'
      : `${format.plural(answer.schedules.length, 'schedule')}, ${format.count(answer.schedules.filter(({ paused_at: paused }) => paused).length)} paused.`);
    keyed(list, answer.schedules, ({ name }) => name, (first) => scheduleCard(first, { signal, changed: () => poller.now() }));
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind !== 'unreachable' || !list.hasChildNodes()) showTrouble(notices, problem, () => poller.now());
  } });
  onRefresh(() => poller.now());

  return h('section', { class: 'view' }, heading('Schedules'),
    h('p', { class: 'muted measure' }, 'Jobs that are submitted at due times: a cron expression in a time zone.'),
    state, notices, list);
}

function scheduleCard(first, { signal, changed }) {
  let current = first;
  const name = h('h2', { tabindex: -1 }, first.name);
  const paused = badge('paused');
  const times = h('code', {});
  const what = h('p', { class: 'muted small' });
  const next = when(first.next_due_at, { prefix: 'next ' });
  const due = h('p', {});
  const last = h('p', { class: 'line wrap' });
  const actions = h('div', { class: 'row actions' });
  const runs = h('div', {});
  const history = h('details', { ontoggle: () => { if (history.open) showRuns(); } }, h('summary', {}, 'History'), runs);
  const node = h('li', {}, h('article', { class: 'card', 'aria-label': first.name },
    h('header', { class: 'line wrap' }, name, paused.node, h('span', { class: 'spacer' }), actions),
    h('p', { class: 'line wrap' }, times, h('span', { class: 'muted' }, next.node)), what, due, last, history));

  async function showRuns() {
    try {
      const { runs: all, next_due_times: times } = await ask(`schedules/${encodeURIComponent(current.name)}`, { signal });
      replace(runs,
        h('p', { class: 'muted small' }, `Next due times: ${times.map((time) => format.exactly(format.time(time))).join(' · ') || format.NOTHING}`),
        h('ul', { class: 'plain-list' }, all.map((run) => h('li', { class: 'line wrap' }, runParts(run)))));
    } catch (problem) {
      if (!signal.aborted) showTrouble(runs, problem, showRuns);
    }
  }

  async function act(action, button) {
    if (!await confirm(QUESTIONS[action](current))) return;
    button.disabled = true;
    try {
      const answer = await ask(`schedules/${action}/${encodeURIComponent(current.name)}`, { method: 'POST' });
      toast('ok', answer.message);
    } catch (problem) {
      toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
    // Keep the button disabled until the new state is known, so that the action is not requested twice.
    await changed();
    button.disabled = false;
    if (history.open) showRuns();
    // The focused button was disabled, or is no longer shown.
    if (!signal.aborted && document.activeElement === document.body) (actions.querySelector('button') ?? name).focus();
  }

  return {
    node,
    update(schedule) {
      current = schedule;
      paused.node.hidden = schedule.paused_at === null;
      setText(times, `${schedule.cron} ${schedule.time_zone}`);
      next.update(schedule.next_due_at);
      setText(what, [
        `Submits ${schedule.job_type}`,
        `overlap: ${schedule.overlap}`,
        `catch-up: ${schedule.catch_up}${schedule.catch_up === 'all' ? ` up to ${schedule.catch_up_limit}` : ''}`,
        schedule.jitter_seconds > 0 ? `jitter: up to ${schedule.jitter_seconds} s` : null,
        schedule.declared_by ? `declared in the file of workflow ${schedule.declared_by}` : null,
      ].filter(Boolean).join(' · '));
      setText(due, schedule.paused_at === null && schedule.next_due_at === null ? 'It has no due time within five years.' : '');
      due.hidden = due.textContent === '';
      setAttribute(due, 'data-tone', 'bad');
      const key = JSON.stringify(schedule.last_run);
      if (last.dataset.shown !== key) {
        last.dataset.shown = key;
        replace(last, schedule.last_run ? ['Last due time: ', runParts(schedule.last_run)] : h('span', { class: 'muted' }, 'No due time has passed yet.'));
      }
      const offered = [['run', 'Run now', ''], schedule.paused_at === null ? ['pause', 'Pause', ''] : ['resume', 'Resume', 'primary']];
      keyed(actions, offered, ([action]) => action, ([action, label, kind]) => ({
        node: h('button', {
          type: 'button', class: kind, 'aria-label': `${label}: ${schedule.name}`, onclick: (event) => act(action, event.currentTarget),
        }, icon(action), label),
      }));
    },
  };
}

const DECISIONS = {
  submitted: ['ok', 'submitted'],
  exists: ['idle', 'same job exists'],
  waiting: ['idle', 'waits'],
  skipped: ['warn', 'skipped'],
  missed: ['warn', 'missed'],
  failed: ['bad', 'refused'],
};

// When a due time was, what became of it, and its job.
function runParts(run) {
  const [tone, label] = DECISIONS[run.decision] ?? ['idle', run.decision];
  return [
    h('span', { class: 'num' }, format.exactly(format.time(run.due_at))),
    run.is_manual ? h('span', { class: 'muted' }, 'run now') : null,
    h('span', { 'data-tone': tone }, run.due_times > 1 ? `${label}, ${format.count(run.due_times)} due times` : label),
    run.job_id ? h('a', { href: `#/jobs/${run.job_id}` }, `job ${format.shortId(run.job_id)}`) : null,
    run.job_id ? badge(run.job_status ?? 'deleted').node : null,
    run.reason ? h('span', { class: 'muted small' }, run.reason) : null,
  ];
}

const QUESTIONS = {
  run: (schedule) => ({
    title: `Run ${schedule.name} now?`, action: 'Run now', isGrave: false,
    text: `A ${schedule.job_type} job is submitted at once, with this moment as its due time. The next due time stays as it is.`,
  }),
  pause: (schedule) => ({
    title: `Pause ${schedule.name}?`, action: 'Pause', isGrave: false,
    text: ['Nothing is submitted until it is resumed. Jobs that it submitted go on.', 'Due times that pass meanwhile are not made up for.'],
  }),
  resume: (schedule) => ({
    title: `Resume ${schedule.name}?`, action: 'Resume', isGrave: false, text: 'It goes on at its next due time.',
  }),
};
