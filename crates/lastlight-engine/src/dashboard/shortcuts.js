// Keyboard shortcuts, and their list under "?".

import { h, newId } from './dom.js';

const SHOWN = [
  ['g j', 'Jobs'], ['g s', 'Submit a job'], ['g c', 'Compare'], ['g p', 'Poison and dead letters'], ['g h', 'Health'],
  ['j', 'Next row'], ['k', 'Previous row'], ['Enter', 'Open the row'], ['/', 'Search or first filter'], ['r', 'Refresh now'],
  ['t', 'Light or dark'], ['?', 'This list'], ['Esc', 'Close'],
];

const SETTING = 'lastlight.shortcuts';
const areOn = () => {
  try { return localStorage.getItem(SETTING) !== 'off'; } catch { return true; }
};
function switchThem(on) {
  try { localStorage.setItem(SETTING, on ? 'on' : 'off'); } catch { /* for this page only */ }
}

const GOES = { j: '#/jobs', s: '#/submit', c: '#/compare', p: '#/poison', h: '#/health' };

// `refresh` and `theme` are what r and t do.
export function listen({ refresh, theme }) {
  let isGoing = false;
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]')) return;
    if (event.key === '?') return done(event, help);
    if (!areOn()) return;
    if (isGoing) {
      isGoing = false;
      const target = GOES[event.key];
      if (target) done(event, () => { location.hash = target; });
      return;
    }
    if (event.key === 'g') {
      isGoing = true;
      setTimeout(() => { isGoing = false; }, 1200);
    } else if (event.key === 'j' || event.key === 'k') done(event, () => step(event.key === 'j' ? 1 : -1));
    else if (event.key === '/') done(event, () => document.querySelector('#main :is(.find, .filters) :is(input, select)')?.focus());
    else if (event.key === 'r') done(event, refresh);
    else if (event.key === 't') done(event, theme);
  });
}

function done(event, act) {
  event.preventDefault();
  act();
}

const isTyping = (target) => target instanceof Element && target.closest('input:not([type=radio]), textarea, select') !== null;

// data-row marks the element of a row that takes the focus.
function step(by) {
  const rows = [...document.querySelectorAll('#main [data-row]')].filter((row) => row.checkVisibility());
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row === document.activeElement || row.closest('tr')?.contains(document.activeElement));
  rows[Math.min(rows.length - 1, Math.max(0, at + by))].focus();
}

export function help() {
  const id = newId('help');
  const dialog = h('dialog', { class: 'help', 'aria-labelledby': id, onclose: () => dialog.remove() },
    h('form', { method: 'dialog' },
      h('h2', { id }, 'Keyboard'),
      h('dl', { class: 'keys' }, SHOWN.map(([keys, what]) => h('div', {},
        h('dt', {}, keys.split(' ').map((key) => h('kbd', {}, key))), h('dd', {}, what)))),
      h('label', { class: 'check' },
        h('input', { type: 'checkbox', checked: areOn(), onchange: (event) => switchThem(event.target.checked) }),
        'Enable single-key shortcuts'),
      h('div', { class: 'row end' }, h('button', { class: 'primary', autofocus: true }, 'Close'))));
  document.body.append(dialog);
  dialog.showModal();
}
