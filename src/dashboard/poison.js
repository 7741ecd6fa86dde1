// What was set aside: how much in each queue, which messages, and what a person may do with them.

import { ask } from './api.js';
import { h, keyed, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { confirm, facts, heading, notice, toast, trouble, when } from './parts.js';
import { poll } from './poll.js';

const EVERY = 10_000;
const PEEK = 32;

export function poison({ signal, onRefresh }) {
  // Looking changes things on Service Bus, so it is done on request, not again and again.
  let looked = null;
  const notices = h('div', {});
  const outcome = h('div', {});
  const list = h('div', { class: 'queues' });
  const state = h('p', { class: 'muted', role: 'status' });
  const lookButton = h('button', { type: 'button', onclick: () => look() }, icon('look'), 'Show messages');
  const allButton = h('button', { type: 'button', onclick: () => processAll() }, 'Process all');

  const poller = poll(async (stop) => {
    draw(await ask('monitor/poison', { level: 'admin', signal: stop }));
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind !== 'unreachable' || !list.hasChildNodes()) replace(notices, trouble(problem, () => poller.now()));
    if (problem.kind === 'key') keyed(list, [], (queue) => queue, queueCard);
  } });
  onRefresh(() => poller.now());

  function draw(status) {
    replace(notices);
    const found = status.poison_messages_found;
    setText(state, found > 0 ? `${format.plural(found, 'message')} set aside.` : status.status === 'healthy' ? 'Nothing is set aside.' : 'Not every queue can be read.');
    allButton.disabled = found === 0;
    lookButton.disabled = found === 0;
    const queues = Object.entries(status.queue_details).map(([queue, details]) => ({
      queue, ...details, messages: details.messages ?? (details.poison_messages > 0 ? looked?.[queue]?.messages : undefined), act,
    }));
    keyed(list, queues, ({ queue }) => queue, queueCard);
  }

  async function look() {
    lookButton.disabled = true;
    try {
      const status = await ask('monitor/poison', { level: 'admin', query: { peek: PEEK }, signal });
      looked = status.queue_details;
      draw(status);
    } catch (problem) {
      if (!signal.aborted) replace(notices, trouble(problem, look));
    } finally {
      lookButton.disabled = false;
    }
  }

  // Redrive or discard one message.
  async function act(action, queue, message) {
    const isWanted = action === 'redrive' || await confirm({
      title: 'Throw this message away?', action: 'Discard',
      text: [`It leaves ${queue} for good. If a job still needs what it asks for, the sweep finds out and sends a new one.`],
    });
    if (!isWanted) return;
    try {
      const answer = await ask('monitor/poison', { level: 'admin', json: { action, queue, message_id: message.message_id } });
      toast('ok', action === 'redrive' ? `Sent again, to ${answer.sent_to}.` : 'Discarded.');
      const kept = looked?.[queue];
      if (kept?.messages) kept.messages = kept.messages.filter(({ message_id: id }) => id !== message.message_id);
    } catch (problem) {
      toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
    poller.now();
  }

  async function processAll() {
    const isWanted = await confirm({
      title: 'Deal with everything that is set aside?', action: 'Process all',
      text: ['What is done already is absorbed. What is not done by now has failed, so that the jobs end; Retry lets them go on later.',
        'Messages in the review queues stay: only you can say what they are.'],
    });
    if (!isWanted) return;
    allButton.disabled = true;
    replace(outcome);
    try {
      replace(outcome, report(await ask('monitor/poison', { level: 'admin', json: { action: 'process' } })));
      looked = null;
    } catch (problem) {
      replace(outcome, trouble(problem, processAll));
    }
    poller.now();
  }

  return h('section', { class: 'view' },
    heading('Poison and dead letters', lookButton, allButton),
    h('p', { class: 'muted measure' }, 'Messages that were delivered as often as their queue allows. Most are dealt with by themselves; what stays needs a person. On Service Bus to look is to deliver: delivery counts grow.'),
    state, notices, outcome, list);
}

function report(run) {
  const failed = run.jobs_marked_failed + run.tasks_marked_failed;
  return notice(run.success ? (failed > 0 ? 'warn' : 'ok') : 'bad', `${format.plural(run.messages.length, 'message')} dealt with`,
    `${format.plural(run.jobs_marked_failed, 'job')} and ${format.plural(run.tasks_marked_failed, 'task')} marked failed.`,
    run.left_for_review > 0 ? ` ${format.plural(run.left_for_review, 'message')} in review queues stay: redrive or discard them one by one.` : '',
    ...(run.errors ?? []),
    run.messages.length > 0 ? h('details', {}, h('summary', {}, 'Each message'),
      h('ul', { class: 'plain-list' }, run.messages.map((message) => h('li', {},
        h('strong', {}, String(message.outcome).replaceAll('_', ' ')), ` ${message.reason} `,
        message.job_id ? h('a', { href: `#/jobs/${message.job_id}` }, format.shortId(message.job_id)) : null)))) : '');
}

function queueCard(first) {
  const number = h('span', { class: 'queue-count num' });
  const problem = h('p', { class: 'bad-text' });
  const messages = h('ul', { class: 'messages' });
  const node = h('article', { class: 'card queue', 'aria-label': first.queue },
    h('header', { class: 'line' }, h('h2', {}, first.queue), h('span', { class: 'spacer' }), number),
    h('p', { class: 'muted small' }, `${format.path(first.processing_path)} · ${first.holds}`), problem, messages);
  return {
    node,
    update(next) {
      setText(number, next.poison_messages === undefined ? 'unknown' : format.plural(next.poison_messages, 'message'));
      setAttribute(node, 'data-tone', next.error ? 'bad' : next.poison_messages > 0 ? 'warn' : null);
      setText(problem, next.error ?? '');
      problem.hidden = !next.error;
      keyed(messages, (next.messages ?? []).map((message) => ({ ...message, queue: next.queue, act: next.act })), ({ message_id: id }) => id, messageRow);
    },
  };
}

function messageRow(message) {
  const { queue, act } = message;
  const busy = (action) => async (event) => {
    event.currentTarget.disabled = true;
    const button = event.currentTarget;
    await act(action, queue, message);
    button.disabled = false;
  };
  const named = jobOf(message.message);
  const node = h('li', {},
    h('div', { class: 'line wrap' },
      h('code', {}, message.message_id), h('span', { class: 'spacer' }),
      h('button', { type: 'button', onclick: busy('redrive') }, icon('retry'), 'Redrive'),
      h('button', { type: 'button', class: 'danger-quiet', onclick: busy('discard') }, icon('cancel'), 'Discard')),
    facts([
      ['Why', message.reason ?? 'delivered too often'],
      ['Deliveries', format.count(message.delivery_count)],
      ['Set aside', message.enqueued_at ? when(message.enqueued_at).node : null],
      ['Job', named ? h('a', { href: `#/jobs/${named}` }, format.shortId(named)) : null],
    ]).node,
    h('details', {}, h('summary', {}, 'Message'), json(message.message, { what: 'the message' })));
  return { node };
}

function jobOf(text) {
  try {
    const message = JSON.parse(text);
    const id = message.parent_job_id ?? message.job_id;
    return /^[0-9a-f]{64}$/i.test(id) ? id.toLowerCase() : null;
  } catch { return null; }
}
