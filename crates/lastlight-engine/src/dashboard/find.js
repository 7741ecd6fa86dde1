// The search for jobs: by the beginning of an id, a job type or a label's value, by labels and parameters, and by days.
// Its state is part of the address of the list.

import { h, newId, replace } from './dom.js';
import { icon } from './icons.js';
import { link } from './router.js';

const TERM = /^(label|param)\.([^=]+)=(.+)$/;
const LABEL = /^([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)=(.+)$/;

// What the address says: `terms` are the names and values of labels and parameters, as the API has them.
export function searched(query) {
  const terms = [...query].filter(([name]) => /^(label|param)\./.test(name));
  return { q: query.get('q') ?? '', terms: Object.fromEntries(terms), from: query.get('from') ?? '', to: query.get('to') ?? '' };
}

export const isSearch = ({ q, terms }) => q !== '' || Object.keys(terms).length > 0;

// A label as a link to the jobs that have it. `add` adds it to the filters that are shown instead.
export function chips(labels, add) {
  return Object.entries(labels ?? {}).map(([key, value]) => {
    const name = `label.${key}`;
    const onclick = add && ((event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      add(name, value);
    });
    return h('a', { class: 'chip', href: link(['jobs'], { [name]: value }), title: `Jobs with ${key}=${value}`, onclick }, `${key}=${value}`);
  });
}

// `state` is what `searched` returned; `changed(state)` is called with what the user made of it.
export function search(state, changed) {
  const id = newId('find');
  const text = h('input', {
    id, type: 'search', autocomplete: 'off', spellcheck: 'false', maxlength: 400, value: state.q,
    placeholder: 'Id, type, label or team=roads', 'aria-describedby': `${id}-help`,
    onsearch: () => { if (text.value === '' && state.q !== '') set({ q: '' }); },
  });
  const day = (name, label) => {
    const input = h('input', { type: 'date', 'aria-label': label, title: label, value: state[name].slice(0, 10), onchange: () => set({ [name]: input.value }) });
    return input;
  };
  const from = day('from', 'Submitted on this day or later'), to = day('to', 'Submitted on this day or earlier');
  const terms = h('ul', { class: 'terms', 'aria-label': 'Labels and parameters' });
  const node = h('form', { class: 'find', role: 'search', onsubmit },
    h('label', { for: id, class: 'unseen' }, 'Find jobs'), text, h('button', { type: 'submit' }, 'Find'),
    h('span', { class: 'days' }, from, h('span', { class: 'faint' }, 'to'), to),
    h('span', { id: `${id}-help`, class: 'unseen' },
      'The beginning of an id, of a job type or of a label’s value; or a label as team=roads; or a parameter as param.n=10.'),
    terms);

  function set(next) {
    state = { ...state, ...next };
    draw();
    changed(state);
  }

  function onsubmit(event) {
    event.preventDefault();
    const typed = text.value.trim();
    const [, kind, name, value] = TERM.exec(typed) ?? [];
    const [, key, own] = LABEL.exec(typed) ?? [];
    if (kind) add(`${kind}.${name}`, value);
    else if (key) add(`label.${key}`, own);
    else set({ q: typed });
  }

  function add(name, value) {
    set({ terms: { ...state.terms, [name]: value }, q: LABEL.test(text.value) || TERM.test(text.value) ? '' : state.q });
  }

  function without(name) {
    const { [name]: _, ...left } = state.terms;
    set({ terms: left });
    text.focus();
  }

  function draw() {
    text.value = state.q;
    [from.value, to.value] = [state.from.slice(0, 10), state.to.slice(0, 10)];
    replace(terms, Object.entries(state.terms).map(([name, value]) => {
      const shown = `${name.replace(/^label\./, '').replace(/^param\./, 'parameter ')}=${value}`;
      return h('li', { class: 'chip' }, h('span', {}, shown),
        h('button', { type: 'button', class: 'icon-button', 'aria-label': `Remove ${shown}`, onclick: () => without(name) }, icon('cancel')));
    }));
  }

  draw();
  return { node, add };
}
