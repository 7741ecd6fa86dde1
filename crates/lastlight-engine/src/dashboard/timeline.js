// The events of a job: its stages as bars on one axis of time, and below them what happened and who asked for it.

import { ask } from './api.js';
import { h, keyed, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { showTrouble } from './parts.js';

// Pages that one look reads; the rest is shown on request.
const PAGES = 4;

const REPAIRS = { messages_resent: 'resent', planning_resumed: 'planned again', attempts_presumed_dead: 'attempts presumed dead', counters_repaired: 'counters repaired' };

export function timeline({ jobId, signal }) {
  const notices = h('div', {});
  const axis = h('div', { class: 'time-axis num', 'aria-hidden': 'true' });
  const bars = h('ol', { class: 'time-bars plain-list' });
  const body = h('tbody', {});
  const more = h('p', {});
  const content = h('div', { hidden: true }, axis, bars,
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Events' }, h('table', { class: 'plain events' },
      h('caption', { class: 'unseen' }, 'Events of the job'),
      h('thead', {}, h('tr', {}, ['Time', 'Run', 'Event', 'By', 'Reason'].map((label) => h('th', { scope: 'col' }, label)))), body)), more);
  let events = [], cursor = null, asked = 0, isOver = false;

  // Repairs of an hour are one event that grows, so everything is read again; a job has few events.
  async function update(job) {
    isOver = format.isOver(job.status);
    await read([], null, PAGES);
  }

  async function read(known, from, pages) {
    const turn = ++asked;
    const found = [...known];
    let next = from;
    try {
      for (let page = 0; page < pages; page += 1) {
        const answer = await ask(`jobs/events/${encodeURIComponent(jobId)}`, { query: next === null ? {} : { cursor: next }, signal });
        found.push(...answer.events);
        next = answer.next_cursor;
        if (next === null) break;
      }
    } catch (problem) {
      if (!signal.aborted && turn === asked) showTrouble(notices, problem, () => read(known, from, pages));
      return;
    }
    if (turn !== asked) return;
    replace(notices);
    [events, cursor] = [found, next];
    draw();
  }

  function draw() {
    content.hidden = events.length === 0;
    if (events.length === 0) return;
    const rows = stagesOf(events);
    const times = events.flatMap((event) => [format.time(event.happened_at), format.time(event.last_at)]).filter((time) => time !== null);
    const start = Math.min(...times);
    const end = Math.max(isOver ? 0 : Date.now(), ...times, start + 1);
    const at = (time) => `${(100 * (time - start)) / (end - start)}%`;
    replace(axis, h('span', {}, format.exactly(start)), h('span', {}, format.duration(end - start)), h('span', {}, isOver ? format.exactly(end) : 'now'));
    keyed(bars, rows.map((row) => ({ ...row, at, end })), (row) => row.key, stageBar);
    keyed(body, events, (event) => event.event_id, eventRow);
    replace(more, cursor === null ? null : h('button', { type: 'button', onclick: () => read(events, cursor, PAGES) }, 'Show later events'));
  }

  return { node: h('section', { class: 'timeline', 'aria-label': 'Timeline' }, notices, content), update };
}

// The stages of each run with the times of their start, plan, end and marks, in the order in which they started.
function stagesOf(events) {
  const rows = new Map();
  for (const event of events) {
    if (event.stage === null) continue;
    const key = `${event.run}-${event.stage}`;
    const time = format.time(event.happened_at);
    if (!rows.has(key)) rows.set(key, { key, name: event.node ?? `Stage ${event.stage}`, run: event.run, spans: [], marks: [], failed: 0 });
    const row = rows.get(key);
    const open = row.spans.at(-1);
    if (['stage_started', 'gate_waiting', 'stage_reopened'].includes(event.kind)) row.spans.push({ from: time, planned: null, until: null });
    else if (event.kind === 'stage_planned' && open) open.planned = time;
    else if (event.kind === 'stage_ended') {
      if (open) open.until = time;
      row.failed = event.detail?.failed ?? 0;
    } else row.marks.push({ time, text: REPAIRS[event.kind] ? `${REPAIRS[event.kind]} ${event.times} times` : event.message });
  }
  return [...rows.values()].filter((row) => row.spans.length > 0);
}

function stageBar() {
  const name = h('span', { class: 'time-name' });
  const track = h('span', { class: 'time-track' });
  const took = h('span', { class: 'num muted time-took' });
  return {
    node: h('li', {}, name, track, took),
    update({ name: stage, run, spans, marks, failed, at, end }) {
      setText(name, run > 1 ? `${stage}, run ${run}` : stage);
      setAttribute(track, 'data-tone', failed > 0 ? 'warn' : null);
      const total = spans.reduce((sum, span) => sum + (span.until ?? end) - span.from, 0);
      const isOpen = spans.at(-1).until === null;
      setText(took, format.duration(total));
      replace(track,
        spans.map((span) => placed(h('span', { class: 'time-bar', 'data-open': span.until === null }), at(span.from), at(span.until ?? end))),
        spans.filter(({ planned }) => planned !== null).map((span) => placed(h('span', { class: 'time-plan', title: 'being planned' }), at(span.from), at(span.planned))),
        marks.map((mark) => placed(h('span', { class: 'time-mark', title: mark.text }), at(mark.time))),
        h('span', { class: 'unseen' }, `${format.duration(total)}${isOpen ? ' so far' : ''}${failed > 0 ? `, ${format.plural(failed, 'task')} failed` : ''}`));
    },
  };
}

function placed(node, left, right) {
  node.style.left = left;
  if (right !== undefined) node.style.width = `calc(${right} - ${left})`;
  return node;
}

function eventRow() {
  const time = h('time', {}), run = h('td', { class: 'num' }), message = h('td', {}), by = h('td', {}), reason = h('td', {});
  return {
    node: h('tr', {}, h('td', { class: 'num' }, time), run, message, by, reason),
    update(event) {
      setAttribute(time, 'datetime', event.happened_at);
      setText(time, format.exactly(format.time(event.happened_at)));
      setText(run, String(event.run));
      setText(message, event.times > 1 ? `${event.message} ${event.times} times until ${format.ofDay(format.time(event.last_at))}.` : event.message);
      setAttribute(message, 'data-tone', event.kind === 'job_failed' ? 'bad' : event.kind in REPAIRS ? 'warn' : null);
      setText(by, event.requested_by ?? '');
      setText(reason, event.reason ?? '');
    },
  };
}
