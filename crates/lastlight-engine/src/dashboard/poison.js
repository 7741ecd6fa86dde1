// Dead-lettered messages: their number per queue, the messages on request, and redrive, discard and process all.

import { ask } from './api.js';
import { h, keyed, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { confirm, facts, heading, notice, showTrouble, toast, when } from './parts.js';
import { poll } from './poll.js';

const EVERY = 10_000;
const PEEK = 32;

export function poison({ signal, onRefresh }) {
  // Peeking raises delivery counts on Service Bus, so it is done on request and not by polling.
  let looked = null, status = null, isLooking = false, isProcessing = false;
  // Messages redriven or discarded since the last peek began: its response may still contain them.
  let settled = new Set();
  const notices = h('div', {});
  const outcome = h('div', { role: 'status' });
  const list = h('div', { class: 'queues' });
  const state = h('p', { class: 'muted', role: 'status' });
  const lookButton = h('button', { type: 'button', disabled: true, onclick: () => look() }, icon('look'), 'Show messages');
  const allButton = h('button', { type: 'button', disabled: true, onclick: () => processAll() }, 'Process all');

  const poller = poll(async (stop) => {
    status = await ask('monitor/poison', { level: 'admin', signal: stop });
    replace(notices);
    draw();
  }, { every: EVERY, signal, failed(problem) {
    if (problem.kind !== 'unreachable' || !list.hasChildNodes()) showTrouble(notices, problem, () => poller.now());
    if (problem.kind !== 'key') return;
    status = null;
    draw();
  } });
  onRefresh(() => poller.now());

  function draw() {
    const queues = Object.entries(status?.queue_details ?? {}).map(([queue, details]) => {
      const kept = details.poison_messages > 0 ? looked?.[queue] : undefined;
      return { queue, ...details, messages: kept?.messages ?? [], error: details.error ?? kept?.error, kept, act };
    });
    const held = (isIn) => queues.filter(isIn).reduce((sum, queue) => sum + (queue.poison_messages ?? 0), 0);
    const [forAll, forReview] = [held((queue) => !queue.is_review), held((queue) => queue.is_review)];
    setText(state, status === null ? '' : wordsFor(forAll, forReview, status.status === 'healthy'));
    // "Process all" does not touch the review queues.
    allButton.disabled = forAll === 0 || isProcessing;
    lookButton.disabled = forAll + forReview === 0 || isLooking;
    keyed(list, queues, ({ queue }) => queue, queueCard);
  }

  async function look() {
    isLooking = true;
    settled = new Set();
    draw();
    try {
      status = await ask('monitor/poison', { level: 'admin', query: { peek: PEEK }, signal });
      looked = Object.fromEntries(Object.entries(status.queue_details).map(([queue, { poison_messages: count, messages = [], error }]) => [queue, {
        error, of: count, seen: messages.length, messages: messages.filter(({ message_id: id }) => !settled.has(id)),
      }]));
      replace(notices);
    } catch (problem) {
      if (!signal.aborted) showTrouble(notices, problem, look);
    }
    isLooking = false;
    draw();
    if (document.activeElement === document.body && !signal.aborted) lookButton.focus();
  }

  // Redrive or discard one message. True if it is gone.
  async function act(action, queue, message) {
    const isWanted = action === 'redrive' || await confirm({
      title: 'Discard this message?', action: 'Discard',
      text: [`It is deleted from ${queue} permanently. If a job still needs its work, the sweep detects that and sends a new message.`],
    });
    if (!isWanted) return false;
    let isGone = false;
    try {
      const answer = await ask('monitor/poison', { level: 'admin', json: { action, queue, message_id: message.message_id } });
      toast('ok', action === 'redrive' ? `Redriven to ${answer.sent_to}.` : 'Discarded.');
      isGone = true;
      settled.add(message.message_id);
      const kept = looked?.[queue];
      if (kept) kept.messages = kept.messages.filter(({ message_id: id }) => id !== message.message_id);
      const counted = status?.queue_details[queue];
      if (counted?.poison_messages > 0) counted.poison_messages -= 1;
      draw();
    } catch (problem) {
      toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
    poller.now();
    return isGone;
  }

  async function processAll() {
    const isWanted = await confirm({
      title: 'Process all dead-lettered messages?', action: 'Process all',
      text: ['Messages whose work is already done are ignored as duplicates. Work that is not done by now is marked failed, so that its jobs finish; Retry can continue them later.',
        'Messages in the review queues stay: an operator has to judge them.'],
    });
    if (!isWanted) return;
    isProcessing = true;
    draw();
    replace(outcome);
    try {
      replace(outcome, report(await ask('monitor/poison', { level: 'admin', json: { action: 'process' } })));
      looked = null;
    } catch (problem) {
      showTrouble(outcome, problem, processAll);
    }
    isProcessing = false;
    await poller.now();
    if (document.activeElement === document.body && !signal.aborted) (allButton.disabled ? lookButton : allButton).focus();
  }

  return h('section', { class: 'view' },
    heading('Poison and dead letters', lookButton, allButton),
    h('p', { class: 'muted measure' }, 'Messages that reached the maximum delivery count of their queue. Most are processed automatically; the rest need an operator. On Service Bus, showing messages delivers them, so their delivery counts grow.'),
    state, notices, outcome, list);
}

function wordsFor(forAll, forReview, isHealthy) {
  if (forAll + forReview === 0) return isHealthy ? 'No dead-lettered messages.' : 'Not every queue can be read.';
  const where = forAll > 0 ? `Review queues hold ${format.count(forReview)} of them` : forReview === 1 ? 'A review queue holds it' : 'Review queues hold all of them';
  const advice = `${where}. Messages there are not processed automatically: show the messages, then redrive or discard each.`;
  return `${format.plural(forAll + forReview, 'dead-lettered message')}. ${forReview > 0 ? advice : ''}`;
}

// After a peek: why a queue holds more messages than are shown.
function wordsOnMissing({ kept, poison_messages: count, messages, is_review: isReview }) {
  if (!kept || messages.length >= count) return '';
  if (kept.seen >= Math.min(kept.of, PEEK)) return 'It holds more messages than are shown here: show the messages again.';
  return `${format.count(kept.seen)} of ${format.plural(kept.of, 'message')} could be shown. ${isReview
    ? 'Another reader' : 'Its function or another reader'} has locked the rest: show the messages again in a minute.`;
}

function report(run) {
  const others = run.poison_messages_found - run.left_for_review - run.messages.length;
  const failed = run.jobs_marked_failed + run.tasks_marked_failed;
  return notice(run.success ? (failed > 0 ? 'warn' : 'ok') : 'bad', `${format.plural(run.messages.length, 'message')} processed`,
    `${format.plural(run.jobs_marked_failed, 'job')} and ${format.plural(run.tasks_marked_failed, 'task')} marked failed.`,
    run.left_for_review > 0 ? ` Review queues still hold ${format.plural(run.left_for_review, 'message')}: redrive or discard them one by one.` : '',
    others > 0 && run.success ? ` ${format.plural(others, 'message')} could not be received: functions lock the messages that they process, and at most 500 messages per queue are processed at once. Try again in a minute.` : '',
    ...(run.errors ?? []),
    run.messages.length > 0 ? h('details', {}, h('summary', {}, 'Each message'),
      h('ul', { class: 'plain-list' }, run.messages.map((message) => h('li', {},
        h('strong', {}, String(message.outcome).replaceAll('_', ' ')), ` ${message.reason} `,
        message.job_id ? h('a', { href: `#/jobs/${message.job_id}` }, format.shortId(message.job_id)) : null)))) : '');
}

function queueCard(first) {
  const number = h('span', { class: 'queue-count num' });
  const problem = h('p', { class: 'bad-text' });
  const held = h('p', { class: 'muted small' });
  const messages = h('ul', { class: 'messages' });
  const node = h('article', { class: 'card queue', 'aria-label': first.queue },
    h('header', { class: 'line' }, h('h2', {}, first.queue), h('span', { class: 'spacer' }), number),
    h('p', { class: 'muted small' }, `${format.path(first.processing_path)} · ${first.holds}`), problem, held, messages);
  return {
    node,
    update(next) {
      setText(number, next.poison_messages === undefined ? 'unknown' : format.plural(next.poison_messages, 'message'));
      setAttribute(node, 'data-tone', next.error ? 'bad' : next.poison_messages > 0 ? 'warn' : null);
      setText(problem, next.error ?? '');
      problem.hidden = !next.error;
      setText(held, next.error ? '' : wordsOnMissing(next));
      held.hidden = held.textContent === '';
      keyed(messages, next.messages.map((message) => ({ ...message, queue: next.queue, act: next.act })), ({ message_id: id }) => id, messageRow);
    },
  };
}

function messageRow(message) {
  const { queue, act } = message;
  let isBusy = false;
  // The button is not disabled meanwhile, so it keeps the focus; afterwards the focus moves to the next message.
  const settle = (action) => async (event) => {
    if (isBusy) return;
    isBusy = true;
    const { className } = event.currentTarget;
    const following = () => [...(node.nextElementSibling ?? node.previousElementSibling ?? node).querySelectorAll('button')];
    const next = following().find((button) => button.className === className);
    setAttribute(node, 'aria-busy', 'true');
    const isGone = await act(action, queue, message);
    isBusy = false;
    setAttribute(node, 'aria-busy', null);
    if (isGone && document.activeElement === document.body) (next?.isConnected ? next : document.querySelector('main h1'))?.focus();
  };
  const named = jobOf(message.message);
  const node = h('li', {},
    h('div', { class: 'line wrap' },
      h('code', {}, message.message_id), h('span', { class: 'spacer' }),
      h('button', { type: 'button', onclick: settle('redrive') }, icon('retry'), 'Redrive'),
      h('button', { type: 'button', class: 'danger-quiet', onclick: settle('discard') }, icon('cancel'), 'Discard')),
    facts([
      ['Why', message.reason ?? 'delivered too often'],
      ['Deliveries', format.count(message.delivery_count)],
      ['Dead-lettered', message.enqueued_at ? when(message.enqueued_at).node : null],
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
