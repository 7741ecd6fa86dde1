// Shows JSON: indented, coloured, and truncated if it is too long to draw.

import { h } from './dom.js';
import { exactly } from './exact.js';
import * as format from './format.js';
import { copyButton } from './parts.js';

const SHOWN = 20_000;

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

export function json(value, { what = 'the JSON', empty = 'Nothing.' } = {}) {
  if (value === undefined || value === null) return h('p', { class: 'faint' }, empty);
  const text = typeof value === 'string' ? pretty(value) : JSON.stringify(value, null, 2);
  const pre = h('pre', { class: 'json', tabindex: 0, 'aria-label': sentenceOf(what) });
  const isLong = text.length > SHOWN;
  paint(pre, isLong ? text.slice(0, SHOWN) : text);
  const node = h('div', { class: 'json-box' }, pre, h('div', { class: 'json-tools' }, copyButton(() => text, what)));
  if (isLong) {
    const more = h('button', { type: 'button', onclick: () => { paint(pre, text); more.remove(); } },
      `Show all ${format.bytes(text.length)}`);
    node.append(h('p', { class: 'json-more' }, `The first ${format.bytes(SHOWN)}. `, more));
  }
  return node;
}

const sentenceOf = (what) => what.charAt(0).toUpperCase() + what.slice(1);

// The text of a message is not always JSON.
function pretty(text) {
  try { return JSON.stringify(exactly(text), null, 2); } catch { return text; }
}

function paint(pre, text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > from) nodes.push(text.slice(from, match.index));
    const [whole, string, colon, word, number] = match;
    const kind = string ? (colon ? 'k' : 's') : word ? 'w' : number ? 'n' : null;
    nodes.push(kind === 'k' ? h('b', { class: 'k' }, string) : h('b', { class: kind }, whole));
    if (kind === 'k') nodes.push(colon);
    from = match.index + whole.length;
  }
  nodes.push(text.slice(from));
  pre.replaceChildren(...nodes);
}
