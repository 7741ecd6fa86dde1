// Components shared by all views: badges, bars, times, notices, dialogs. They do not depend on the view around them.

import { keys } from './api.js';
import { h, keyed, newId, replace, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';

// A status as colour and word; the word alone is sufficient.
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

// A progress bar of shares. `reach`: the fraction of all stages that is planned so far.
export function bar(label) {
  const parts = ['ok', 'run', 'bad', 'off'].map((tone) => [tone, h('i', { 'data-tone': tone })]);
  const known = h('span', { class: 'bar-known' }, parts.map(([, node]) => node));
  const node = h('span', { class: 'bar', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 }, known);
  const update = ({ total, completed, failed, skipped, isOver = true, reach = 1, label: text }) => {
    const shares = { ok: isOver ? completed : 0, run: isOver ? 0 : completed, bad: failed, off: skipped };
    for (const [tone, part] of parts) {
      part.style.setProperty('width', `${(format.share(shares[tone], total) * 100).toFixed(2)}%`);
      // Keep one failure in a million visible.
      part.style.setProperty('min-width', tone === 'bad' && failed > 0 ? '4px' : '0');
    }
    known.style.setProperty('width', `${(reach * 100).toFixed(2)}%`);
    // Skipped tasks are shown in the bar but do not count as done.
    const done = format.share(completed + failed, total) * reach;
    setAttribute(node, 'aria-valuenow', Math.floor(done * 100));
    setAttribute(node, 'aria-valuetext', text ?? format.percent(done));
    return done;
  };
  return { node, update };
}

// A relative time such as "3 min ago", updated by the timer below; its title is the exact time.
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

// A duration; it grows every second while there is no end.
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

// The notice for an ApiProblem, with advice. `again` is called after the user has entered a key.
function trouble(problem, again) {
  if (problem.kind === 'key') return keyForm(problem, again);
  if (problem.kind === 'missing') return notice('info', 'Not available here', problem.message, problem.advice);
  if (problem.kind === 'unreachable') return notice('warn', problem.message, problem.advice);
  if (!problem.kind) return notice('bad', 'Error in this page', String(problem?.message ?? problem));
  return notice('bad', sentence(problem.title ?? 'The app rejected the request'), problem.message, ...(problem.advice ? [problem.advice] : []));
}

const troubles = new WeakMap();

// Shows in `place` why a request failed. If the same problem is already shown, nothing is redrawn, so that a user can
// finish typing a key and a screen reader does not repeat the text.
export function showTrouble(place, problem, again) {
  const key = [problem.kind, problem.level, problem.title, problem.message].join(' ');
  const before = troubles.get(place);
  if (before?.key === key && before.node.parentNode === place) return;
  const hadFocus = place.contains(document.activeElement);
  const node = trouble(problem, () => {
    // The next problem is about the new key, so show it even if its text is the same.
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
    ? 'This needs the app’s master key, since it shows, moves and discards messages. '
    : 'Any function key of the app works. ',
  'It is stored for this tab only, is sent in the header x-functions-key, and is never part of a URL.'),
  h('label', { for: id }, isAdmin ? 'Master key' : 'Function key'),
  h('div', { class: 'row' }, input, h('button', { class: 'primary' }, 'Use key')));
}

// Shows a message and announces it to screen readers. An error stays until it is closed or repeated.
export function toast(tone, text) {
  const node = h('div', { class: 'toast', 'data-tone': tone, role: tone === 'bad' ? 'alert' : 'status' },
    h('p', {}, text), h('button', { class: 'icon-button', 'aria-label': 'Close', onclick: () => node.remove() }, icon('cancel')));
  const toasts = document.getElementById('toasts');
  for (const same of [...toasts.children].filter((other) => other.textContent === node.textContent)) same.remove();
  toasts.append(node);
  if (tone !== 'bad') setTimeout(() => node.remove(), 7000);
}

export const announce = (text) => setText(document.getElementById('announcer'), text);

// Asks the user to confirm an action. Resolves to true if confirmed; Escape and the first button decline.
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
        toast('bad', 'The browser does not let this page copy; select the text and copy it instead.');
      }
    },
  }, icon('copy'));
}

export const id = (text, what = 'the id') =>
  h('span', { class: 'id' }, h('code', { title: text }, text), copyButton(() => text, what));

// Names and values, one line each; values are text or nodes, and lines without a value are omitted.
export function facts(pairs) {
  const list = h('dl', { class: 'facts' });
  const update = (next) => replace(list, next.filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
  update(pairs);
  return { node: list, update };
}

// A choice among a few options: radio buttons that look like one control.
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

// The head of a view: a title that takes the focus when the view is opened, and its buttons.
export const heading = (title, ...tools) =>
  h('div', { class: 'view-head' }, h('h1', { tabindex: -1 }, title), h('div', { class: 'row' }, tools));
