// What all views are put together from: badges, bars, times, notices, dialogs. Each knows what it shows and nothing of where.

import { keys } from './api.js';
import { h, keyed, newId, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';

// A status as colour and word; the word alone would do.
export function badge(name) {
  const label = h('span', {});
  const node = h('span', { class: 'badge' }, h('i', { class: 'dot', 'aria-hidden': 'true' }), label);
  const update = (next) => {
    const { tone, label: text } = format.status(next);
    setAttribute(node, 'data-tone', tone);
    setText(label, text);
  };
  update(name);
  return { node, update };
}

// Shares of a whole, side by side. `reach`: how much of the work the whole is, where later stages are not planned yet.
export function bar(label) {
  const parts = ['ok', 'run', 'bad', 'off'].map((tone) => [tone, h('i', { 'data-tone': tone })]);
  const known = h('span', { class: 'bar-known' }, parts.map(([, node]) => node));
  const node = h('span', { class: 'bar', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 }, known);
  const update = ({ total, completed, failed, skipped, isOver = true, reach = 1, label: text }) => {
    const shares = { ok: isOver ? completed : 0, run: isOver ? 0 : completed, bad: failed, off: skipped };
    for (const [tone, part] of parts) {
      part.style.setProperty('width', `${(format.share(shares[tone], total) * 100).toFixed(2)}%`);
      // One failure in a million can be seen.
      part.style.setProperty('min-width', tone === 'bad' && failed > 0 ? '4px' : '0');
    }
    known.style.setProperty('width', `${(reach * 100).toFixed(2)}%`);
    // What was skipped is seen in the bar and is not done.
    const done = format.share(completed + failed, total) * reach;
    setAttribute(node, 'aria-valuenow', Math.floor(done * 100));
    setAttribute(node, 'aria-valuetext', text ?? format.percent(done));
    return done;
  };
  return { node, update };
}

// "3 min ago", kept up to date by the ticker below; the exact time is its title.
export function when(text, { prefix = '' } = {}) {
  const node = h('time', { 'data-prefix': prefix });
  const update = (next) => {
    const then = format.time(next);
    setAttribute(node, 'datetime', then === null ? null : next);
    setAttribute(node, 'title', then === null ? null : format.exactly(then));
    setAttribute(node, 'data-ago', then);
    setText(node, then === null ? format.NOTHING : prefix + format.ago(then));
  };
  update(text);
  return { node, update };
}

// How long something has taken, still growing while it has no end.
export function lasting(from, until) {
  const node = h('span', { class: 'num' });
  const update = (nextFrom, nextUntil) => {
    const [start, end] = [format.time(nextFrom), format.time(nextUntil)];
    setAttribute(node, 'data-since', start !== null && end === null ? start : null);
    setText(node, start === null ? format.NOTHING
      : end === null ? format.running(Date.now() - start) : format.duration(Math.max(0, end - start)));
  };
  update(from, until);
  return { node, update };
}

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll('[data-ago]')) {
    setText(node, (node.dataset.prefix ?? '') + format.ago(Number(node.dataset.ago)));
  }
  for (const node of document.querySelectorAll('[data-since]')) {
    setText(node, format.running(Math.max(0, Date.now() - Number(node.dataset.since))));
  }
}, 1000);

// A notice in the page. tone: 'bad' | 'warn' | 'info' | 'ok'.
export const notice = (tone, title, ...content) =>
  h('div', { class: 'callout', 'data-tone': tone, role: tone === 'bad' ? 'alert' : 'note' },
    h('strong', {}, title), content.map((part) => (typeof part === 'string' ? h('p', {}, part) : part)));

// What an ApiProblem says and what to do. `again` is called once a key was given.
function trouble(problem, again) {
  if (problem.kind === 'key') return keyForm(problem, again);
  if (problem.kind === 'missing') return notice('info', 'Not available here', problem.message, problem.advice);
  if (problem.kind === 'unreachable') return notice('warn', problem.message, problem.advice);
  if (!problem.kind) return notice('bad', 'This page has a fault', String(problem?.message ?? problem));
  return notice('bad', sentence(problem.title ?? 'The app refused'), problem.message, ...(problem.advice ? [problem.advice] : []));
}

const troubles = new WeakMap();

// Says in `place` why a request came to nothing. The same again changes nothing: who types a key goes on, and no screen
// reader begins anew.
export function showTrouble(place, problem, again) {
  const key = [problem.kind, problem.level, problem.title, problem.message].join(' ');
  const before = troubles.get(place);
  if (before?.key === key && before.node.parentNode === place) return;
  const hadFocus = place.contains(document.activeElement);
  const node = trouble(problem, () => {
    // A key was given: what is said next is said of that one.
    troubles.delete(place);
    again();
  });
  troubles.set(place, { key, node });
  replace(place, node);
  if (hadFocus) node.querySelector('input')?.focus();
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function keyForm(problem, again) {
  const id = newId('key');
  const isAdmin = problem.level === 'admin';
  const input = h('input', { id, type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, 'aria-describedby': `${id}-help` });
  return h('form', {
    class: 'callout key-form', 'data-tone': 'info', 'aria-label': 'Key',
    onsubmit(event) {
      event.preventDefault();
      keys.keep(isAdmin ? 'admin' : 'function', input.value.trim());
      again();
    },
  },
  h('strong', {}, icon('key'), ` ${problem.message}`),
  h('p', { id: `${id}-help` }, isAdmin
    ? 'This takes the app’s master key: it shows, moves and discards messages. '
    : 'Any function key of the app will do. ',
  'It stays in this tab, is sent as x-functions-key, and never stands in an address.'),
  h('label', { for: id }, isAdmin ? 'Master key' : 'Function key'),
  h('div', { class: 'row' }, input, h('button', { class: 'primary' }, 'Use key')));
}

// Says something once, for eyes and screen readers; an error stays until it is closed, or is said again.
export function toast(tone, text) {
  const node = h('div', { class: 'toast', 'data-tone': tone, role: tone === 'bad' ? 'alert' : 'status' },
    h('p', {}, text), h('button', { class: 'icon-button', 'aria-label': 'Close', onclick: () => node.remove() }, icon('cancel')));
  const toasts = document.getElementById('toasts');
  for (const same of [...toasts.children].filter((other) => other.textContent === node.textContent)) same.remove();
  toasts.append(node);
  if (tone !== 'bad') setTimeout(() => node.remove(), 7000);
}

export const announce = (text) => setText(document.getElementById('announcer'), text);

// Asks before something that cannot be taken back. True if the person wants it; Escape and the first button do not.
export function confirm({ title, text, action, isGrave = true }) {
  return new Promise((resolve) => {
    const id = newId('dialog');
    const dialog = h('dialog', { class: 'question', 'aria-labelledby': id, onclose: () => { dialog.remove(); resolve(dialog.returnValue === 'yes'); } },
      h('form', { method: 'dialog' },
        h('h2', { id }, title),
        [text].flat().map((paragraph) => h('p', {}, paragraph)),
        h('div', { class: 'row end' },
          h('button', { value: 'no', autofocus: true }, 'Leave it'),
          h('button', { value: 'yes', class: isGrave ? 'danger' : 'primary' }, action))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function copyButton(text, what) {
  return h('button', {
    class: 'icon-button', type: 'button', 'aria-label': `Copy ${what}`, title: `Copy ${what}`,
    async onclick() {
      try {
        await navigator.clipboard.writeText(text());
        toast('ok', `Copied ${what}.`);
      } catch {
        toast('bad', 'The browser does not let this page copy; select the text instead.');
      }
    },
  }, icon('copy'));
}

export const id = (text, what = 'the id') =>
  h('span', { class: 'id' }, h('code', { title: text }, text), copyButton(() => text, what));

// Names and values, one line each; values are text or nodes, and lines without a value are left out.
export function facts(pairs) {
  const list = h('dl', { class: 'facts' });
  const update = (next) => replace(list, next.filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
  update(pairs);
  return { node: list, update };
}

// A choice among a few: radio buttons that look like one control.
export function choice({ label, options, value, onchange }) {
  const name = newId('choice');
  const list = h('span', { class: 'choice-options' });
  const make = ([optionValue]) => {
    const number = h('span', { class: 'num faint' });
    const text = h('span', {});
    const input = h('input', { type: 'radio', name, value: optionValue, onchange: () => onchange(optionValue) });
    return {
      node: h('label', {}, input, h('span', { class: 'choice-face' }, text, number)),
      update([key, shown, howMany]) {
        input.checked = key === current;
        setText(text, shown);
        setText(number, howMany ?? '');
      },
    };
  };
  let current = value;
  const update = (nextValue, nextOptions = options) => {
    current = nextValue;
    options = nextOptions;
    keyed(list, options, ([key]) => key, make);
  };
  update(value);
  return { node: h('fieldset', { class: 'choice' }, h('legend', { class: 'unseen' }, label), list), update };
}

export function select({ label, options, value, onchange }) {
  const input = h('select', { 'aria-label': label, onchange: () => onchange(input.value) });
  const update = (nextValue, nextOptions = options) => {
    options = nextOptions;
    const shown = options.map(([key, text]) => `${key}\u0000${text}`).join('\u0001');
    if (input.dataset.shown !== shown) {
      replace(input, options.map(([key, text]) => h('option', { value: key }, text)));
      input.dataset.shown = shown;
    }
    input.value = nextValue;
  };
  update(value);
  return { node: input, update };
}

// The head of a view: a title that takes the focus when the view is entered, and what can be done.
export const heading = (title, ...tools) =>
  h('div', { class: 'view-head' }, h('h1', { tabindex: -1 }, title), h('div', { class: 'row' }, tools));
