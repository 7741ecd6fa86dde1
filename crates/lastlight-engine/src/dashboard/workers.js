// Queues of tasks for workers, and the workers: alive, what they run, since when. A queue that nobody serves is said first.

import { ask } from './api.js';
import { h, keyed, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { heading, lasting, notice, showTrouble, when } from './parts.js';
import { poll } from './poll.js';

const EVERY = 3000;

export function workers({ signal, onRefresh }) {
  const notices = h('div', {});
  const alarms = h('div', { class: 'alarms' });
  const state = h('p', { class: 'muted', role: 'status' });
  const queues = h('div', { class: 'queues' });
  const list = h('ul', { class: 'plain-list workers' });
  const about = h('p', { class: 'muted' });

  const poller = poll(async (stop) => {
    const answer = await ask('workers', { signal: stop });
    replace(notices);
    draw(answer);
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind !== 'unreachable' || !queues.hasChildNodes()) showTrouble(notices, problem, () => poller.now());
  } });
  onRefresh(() => poller.now());

  let said = '';
  function draw(answer) {
    const unserved = answer.queues.flatMap(({ queue, handlers }) =>
      handlers.filter(({ depth, workers: served }) => depth > 0 && served === 0).map((handler) => ({ queue, ...handler })));
    // Without the numbers that grow, so that a screen reader does not repeat the alarm.
    const now = JSON.stringify(unserved.map(({ queue, name }) => [queue, name]));
    if (now !== said) {
      replace(alarms, unserved.map(({ queue, name, depth, served_at: served }) => notice('bad', `Nobody serves ${name} of queue ${queue}`,
        `${format.plural(depth, 'task')} ${depth === 1 ? 'waits' : 'wait'} for a worker. ${served ? `The last one asked ${format.ago(format.time(served))}.` : 'No worker has ever asked for this handler.'}`,
        h('p', {}, 'Start one: ', h('code', {}, `lastlight-worker MODULE:worker --queue ${queue}`)))));
    }
    said = now;
    const running = answer.workers.reduce((sum, worker) => sum + worker.running.length, 0);
    setText(state, answer.queues.length + answer.workers.length === 0
      ? 'No task has needed a worker, and no worker has asked for one.'
      : `${format.plural(answer.workers.length, 'worker')} alive, ${format.plural(running, 'task')} in their last heartbeats.`);
    keyed(queues, answer.queues, ({ queue }) => queue, queueCard);
    keyed(list, answer.workers, ({ worker_id: id }) => id, workerCard);
    setText(about, answer.workers.length > 0 ? 'A worker is listed for 90 seconds after it was last seen.' : '');
  }

  return h('section', { class: 'view' }, heading('Workers'),
    h('p', { class: 'muted measure' }, 'Processes anywhere that claim tasks over HTTP. Tasks for them need no messages: they wait in the database until a worker of their queue asks.'),
    state, notices, alarms, queues, list, about);
}

function queueCard(first) {
  const number = h('span', { class: 'queue-count num' });
  const table = h('tbody', {});
  const node = h('article', { class: 'card queue', 'aria-label': `Queue ${first.queue}` },
    h('header', { class: 'line' }, h('h2', {}, first.queue), h('span', { class: 'spacer' }), number),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Handlers of ${first.queue}` }, h('table', { class: 'plain' },
      h('caption', { class: 'unseen' }, 'Handlers'),
      h('thead', {}, h('tr', {}, ['Handler', 'Waiting', 'Open', 'Oldest waits', 'Workers', 'Served'].map((name) => h('th', { scope: 'col' }, name)))),
      table)));
  return {
    node,
    update(next) {
      setText(number, `${format.plural(next.depth, 'task')} waiting`);
      setAttribute(node, 'data-tone', next.unserved ? 'bad' : null);
      keyed(table, next.handlers, ({ name }) => name, handlerRow);
    },
  };
}

function handlerRow(first) {
  const cells = Object.fromEntries(['depth', 'open', 'oldest', 'workers'].map((name) => [name, h('td', { class: 'num' })]));
  const served = when(first.served_at);
  const node = h('tr', {}, h('th', { scope: 'row' }, h('code', {}, first.name)),
    cells.depth, cells.open, cells.oldest, cells.workers, h('td', { class: 'num' }, served.node));
  return {
    node,
    update(next) {
      setText(cells.depth, format.count(next.depth));
      setText(cells.open, format.count(next.open));
      setText(cells.oldest, next.oldest_wait_seconds === null ? format.NOTHING : format.duration(next.oldest_wait_seconds * 1000));
      setText(cells.workers, format.count(next.workers));
      setAttribute(cells.workers, 'data-tone', next.depth > 0 && next.workers === 0 ? 'bad' : null);
      served.update(next.served_at);
    },
  };
}

function workerCard(first) {
  const seen = when(first.seen_at, { prefix: 'seen ' });
  const since = when(first.started_at, { prefix: 'since ' });
  const serves = h('p', { class: 'muted small' });
  const tasks = h('ul', { class: 'plain-list' });
  const idle = h('p', { class: 'muted small' }, 'Runs nothing.');
  const node = h('li', {}, h('article', { class: 'card', 'aria-label': first.worker_id },
    h('header', { class: 'line wrap' }, h('h2', {}, first.worker_id), h('span', { class: 'spacer' }),
      h('span', { class: 'muted small' }, since.node), h('span', { class: 'muted small' }, seen.node)),
    serves, idle, tasks));
  return {
    node,
    update(next) {
      seen.update(next.seen_at);
      since.update(next.started_at);
      setText(serves, next.queue ? `Queue ${next.queue}: ${next.handlers.join(', ')}` : 'It has not asked for tasks yet.');
      idle.hidden = next.running.length > 0;
      keyed(tasks, next.running, ({ job_id: job, task_id: task, attempt }) => `${job} ${task} ${attempt}`, taskRow);
    },
  };
}

function taskRow(first) {
  const runs = lasting(first.since, null);
  const doing = h('span', { class: 'muted' });
  const node = h('li', { class: 'line wrap' },
    h('a', { href: `#/jobs/${first.job_id}` }, `${first.job_type} ${format.shortId(first.job_id)}`),
    h('span', {}, first.node), h('code', {}, first.task_id), runs.node, doing);
  return {
    node,
    update(next) {
      runs.update(next.since, null);
      const share = typeof next.progress === 'number' ? `${Math.round(next.progress * 100)} %` : null;
      setText(doing, [share, next.message].filter(Boolean).join(' · '));
    },
  };
}
