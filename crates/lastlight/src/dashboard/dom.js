// Elements from data. Text only ever becomes a text node: nothing here reads markup, and the page's Content-Security-Policy
// refuses whatever would (Trusted Types).

const SVG = 'http://www.w3.org/2000/svg';

// h('button', { class: 'quiet', onclick: save }, 'Save'): attributes that are false, null or undefined are left out.
export const h = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter(isShown));
  return element;
}

const isShown = (child) => child !== null && child !== undefined && child !== false;

// Writes only what has changed, so that a poll that brings nothing new costs no layout and moves no selection.
export function setText(element, text) {
  const wanted = String(text ?? '');
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

// null takes it away; false is a value, as ARIA has it.
export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
  return element;
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(isShown));
  return parent;
}

// The same, where what comes looks like what goes: the focus, and how far things are scrolled, are handed on.
export function redraw(parent, ...children) {
  const reachable = () => [...parent.querySelectorAll('a, button, input, summary, [tabindex]')];
  const nameOf = (node) => `${node.localName} ${node.getAttribute('aria-label') ?? node.textContent}`;
  const left = reachable().filter((node) => node === document.activeElement || node.scrollTop > 0 || node.scrollLeft > 0)
    .map((node) => ({ name: nameOf(node), hadFocus: node === document.activeElement, top: node.scrollTop, left: node.scrollLeft }));
  replace(parent, ...children);
  for (const { name, hadFocus, ...place } of left) {
    const heir = reachable().find((node) => nameOf(node) === name);
    heir?.scrollTo(place);
    if (hadFocus) heir?.focus({ preventScroll: true });
  }
}

const lists = new WeakMap();

// Brings the children of `parent` that it has made in line with `items`, behind those that were there before. A row that
// stays keeps its node, and so its focus, selection and whatever was opened in it. `make` gives { node, update }.
export function keyed(parent, items, keyOf, make) {
  const before = lists.get(parent) ?? new Map();
  const after = new Map();
  const wanted = new Map([...items].map((item) => [keyOf(item), item]));
  for (const [key, row] of before) {
    if (!wanted.has(key)) {
      row.node.remove();
      before.delete(key);
    }
  }
  const made = new Set([...before.values()].map((row) => row.node));
  // A node that is moved loses the focus.
  const held = parent.contains(document.activeElement) ? document.activeElement : null;
  let place = [...parent.children].find((child) => made.has(child)) ?? null;
  for (const [key, item] of wanted) {
    const row = before.get(key) ?? make(item);
    after.set(key, row);
    row.update?.(item);
    if (row.node === place) place = place.nextElementSibling;
    else parent.insertBefore(row.node, place);
  }
  lists.set(parent, after);
  if (held && held !== document.activeElement && parent.contains(held)) held.focus({ preventScroll: true });
}

let numbers = 0;
// An id for aria-labelledby and its like.
export const newId = (prefix) => `${prefix}-${++numbers}`;
