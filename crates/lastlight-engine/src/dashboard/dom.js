// Builds elements from data. Text always becomes a text node: nothing here parses markup, and the page's
// Content-Security-Policy forbids it (Trusted Types).

const SVG = 'http://www.w3.org/2000/svg';

// h('button', { class: 'quiet', onclick: save }, 'Save'): attributes that are false, null or undefined are omitted.
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

// Writes only changed text, so that a poll without news causes no layout and keeps the selection.
export function setText(element, text) {
  const wanted = String(text ?? '');
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

// null removes the attribute; false is a value, as in ARIA.
export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
  return element;
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(isShown));
  return parent;
}

// Like `replace`, but keeps the focus and the scroll positions of elements that have the same name afterwards.
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

// Updates the children of `parent` that this function created to match `items`; they follow the other children. A row that
// stays keeps its node, and so its focus, its selection and its opened details. `make` returns { node, update }.
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
  // A moved node loses the focus.
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
// A unique id, for aria-labelledby and similar attributes.
export const newId = (prefix) => `${prefix}-${++numbers}`;
