// The frame: navigation, connection state, theme, and routing to views. Views do not depend on it.

import { connection, keys } from './api.js';
import { h, replace, setAttribute } from './dom.js';
import { icon } from './icons.js';
import { heading, toast } from './parts.js';
import * as router from './router.js';
import * as shortcuts from './shortcuts.js';
import { compare } from './compare.js';
import { health } from './health.js';
import { job } from './job.js';
import { jobs } from './jobs.js';
import { poison } from './poison.js';
import { schedules } from './schedules.js';
import { submit } from './submit.js';
import { workers } from './workers.js';

const NAV = [
  ['jobs', 'Jobs', 'jobs'],
  ['submit', 'Submit', 'submit'],
  ['compare', 'Compare', 'compare'],
  ['workers', 'Workers', 'workers'],
  ['schedules', 'Schedules', 'schedules'],
  ['poison', 'Poison', 'poison'],
  ['health', 'Health', 'health'],
];

const VIEWS = { submit, compare, workers, schedules, poison, health };

const main = document.getElementById('main');
const nav = document.getElementById('nav');

const links = new Map(NAV.map(([name, label, drawing]) =>
  [name, h('a', { href: `#/${name}` }, icon(drawing), h('span', {}, label))]));
nav.append(...links.values());

let refresh = () => {};
let isFirst = true;

function show({ parts, query }, signal) {
  const [name = 'jobs', ...rest] = parts;
  for (const [link, node] of links) setAttribute(node, 'aria-current', link === name ? 'page' : null);
  const view = name === 'jobs' ? (rest.length > 0 ? job : jobs) : VIEWS[name];
  const frame = {
    signal, query, parts: rest,
    title(text) { document.title = `${text} · lastlight`; },
    onRefresh(act) { refresh = act; },
  };
  refresh = () => {};
  // Close the confirmation dialogs of the previous page.
  for (const dialog of document.querySelectorAll('dialog.question')) dialog.close();
  frame.title(NAV.find(([link]) => link === name)?.[1] ?? 'Not found');
  replace(main, view ? view(frame) : nowhere());
  scrollTo(0, 0);
  // A screen reader starts at the title of the new view; the first view is read from the top anyway.
  if (!isFirst) (main.querySelector('h1') ?? main).focus({ preventScroll: true });
  isFirst = false;
}

const nowhere = () => h('section', { class: 'view' }, heading('Page not found'),
  h('p', { class: 'muted' }, 'There is no page at this address. ', h('a', { href: '#/jobs' }, 'All jobs')));

const state = document.getElementById('link-state');
function showConnection() {
  setAttribute(state, 'data-up', connection.isUp);
  replace(state, h('i', { class: 'dot', 'data-tone': connection.isUp ? 'ok' : 'bad', 'aria-hidden': 'true' }),
    connection.isUp ? 'Connected' : 'Not connected');
}
const lost = h('div', { class: 'lost', role: 'alert' });
connection.addEventListener('change', () => {
  showConnection();
  if (connection.isUp) {
    lost.remove();
    toast('ok', 'Connected again.');
    refresh();
  } else {
    replace(lost, 'The connection to the app is lost. The data shown may be out of date; the page reconnects automatically.');
    document.body.prepend(lost);
  }
});
showConnection();

const isDark = () => {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
};
function switchTheme() {
  const next = isDark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem('lastlight.theme', next); } catch { /* for this page only */ }
  drawTools();
}

const tools = document.getElementById('tools');
function drawTools() {
  const [theme, next] = isDark() ? ['light', 'Light'] : ['dark', 'Dark'];
  const hadFocus = tools.contains(document.activeElement) ? [...tools.children].indexOf(document.activeElement) : -1;
  replace(tools,
    h('button', { class: 'icon-button', 'aria-label': `${next} colours`, title: `${next} colours (t)`, onclick: switchTheme }, icon(theme)),
    h('button', { class: 'icon-button', 'aria-label': 'Keyboard shortcuts', title: 'Keyboard shortcuts (?)', onclick: shortcuts.help }, icon('help')),
    keys.has('function') || keys.has('admin')
      ? h('button', {
        class: 'icon-button', 'aria-label': 'Forget the keys', title: 'Forget the keys',
        onclick() { keys.forget(); drawTools(); route.again(); },
      }, icon('key'))
      : null);
  if (hadFocus >= 0) tools.children[hadFocus]?.focus();
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawTools);
keys.onchange = drawTools;

shortcuts.listen({ refresh: () => refresh(), theme: switchTheme });
const route = router.start(show);
drawTools();
