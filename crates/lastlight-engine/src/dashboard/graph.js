// The graph of a job whose stages are nodes: a drawing with the state of each node, or a list in the order in which they
// run, which a narrow screen shows first. A node has an address, so it is a link.

import { h, keyed, replace, s, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { layout } from './layout.js';
import { choice } from './parts.js';
import { drawing, drawn, kindOf, stateOf } from './states.js';

const SMALLEST = 0.1, LARGEST = 2;
// Below this scale the text of a node is hard to read: a larger graph scrolls instead.
const READABLE = 0.7;
// Characters of a node's name in one line of its drawing.
const LINE = 25;

// `address(stage)` is the link to a node; `choose(stage, isInList)` is called when the user selects it.
export function graph({ address, choose }) {
  const narrow = matchMedia('(max-width: 820px)');
  let shown = null, structure = '', plan = null, chosen = null, scale = null, nodes = new Map();
  const svg = s('svg', { class: 'graph-drawing', role: 'group', 'aria-label': 'Graph of the job: the arrow keys move between its nodes', onkeydown: step });
  const frame = h('div', { class: 'graph-frame' }, svg);
  const list = h('ol', { class: 'graph-list', 'aria-label': 'Nodes in the order in which they run' });
  const zoom = (label, name, act) => h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick: act }, icon(name));
  const zooms = h('span', { class: 'row graph-zooms' },
    zoom('Zoom out', 'less', () => zoomTo(scale / 1.25)), zoom('Zoom in', 'submit', () => zoomTo(scale * 1.25)),
    h('button', { type: 'button', onclick: () => zoomTo(fit()) }, 'Fit'));
  const form = choice({
    label: 'Show the nodes as', value: '', options: [['drawing', 'Drawing'], ['list', 'List']],
    onchange(value) {
      shown = value;
      showForm();
    },
  });
  const key = h('p', { class: 'legend small graph-key' },
    s('svg', { viewBox: '0 0 32 10', class: 'graph-sample', 'aria-hidden': 'true' }, s('path', { class: 'graph-edge', d: 'M0 5h32' })), 'needs it to complete',
    s('svg', { viewBox: '0 0 32 10', class: 'graph-sample', 'aria-hidden': 'true' }, s('path', { class: 'graph-edge follows', d: 'M0 5h32' })), 'waits only for its end');
  const node = h('section', { 'aria-label': 'Graph', class: 'graph' },
    h('div', { class: 'line wrap' }, h('h2', {}, 'Graph'), h('span', { class: 'spacer' }), zooms, form.node), frame, key, list);
  narrow.addEventListener('change', showForm);

  function showForm() {
    const isList = (shown ?? (narrow.matches ? 'list' : 'drawing')) === 'list';
    form.update(isList ? 'list' : 'drawing');
    list.hidden = !isList;
    for (const part of [frame, zooms, key]) part.hidden = isList;
    if (!isList && scale === null && plan !== null && frame.clientWidth > 0) {
      zoomTo(Math.min(1, Math.max(fit(), READABLE)));
      reveal();
    }
  }

  const fit = () => Math.min(1, frame.clientWidth / plan.width, Math.min(innerHeight * 0.64, 620) / plan.height);

  // Keeps the middle of what is visible.
  function zoomTo(wanted) {
    const before = scale ?? 1;
    scale = Math.min(LARGEST, Math.max(SMALLEST, wanted));
    const middle = [(frame.scrollLeft + frame.clientWidth / 2) / before, (frame.scrollTop + frame.clientHeight / 2) / before];
    setAttribute(svg, 'width', Math.round(plan.width * scale));
    setAttribute(svg, 'height', Math.round(plan.height * scale));
    frame.scrollTo(middle[0] * scale - frame.clientWidth / 2, middle[1] * scale - frame.clientHeight / 2);
  }

  // Scrolls the drawing, not the page, to the selected node.
  function reveal() {
    const place = plan?.places.get(chosen);
    if (!place || scale === null || frame.hidden) return;
    const [left, top] = [place.x * scale, place.y * scale];
    const [right, bottom] = [left + plan.size.width * scale, top + plan.size.height * scale];
    if (left < frame.scrollLeft || right > frame.scrollLeft + frame.clientWidth) frame.scrollLeft = (left + right - frame.clientWidth) / 2;
    if (top < frame.scrollTop || bottom > frame.scrollTop + frame.clientHeight) frame.scrollTop = (top + bottom - frame.clientHeight) / 2;
  }

  function draw(stages) {
    plan = layout(stages.map(({ stage, node: { needs, follows } }) => ({ id: stage, needs, follows })));
    scale = null;
    setAttribute(svg, 'viewBox', `0 0 ${plan.width} ${plan.height}`);
    nodes = new Map(stages.map((stage) => [stage.stage, drawNode(stage, plan)]));
    for (const one of nodes.values()) one.node.addEventListener('click', (event) => select(event, one.stage, false));
    const edges = plan.edges.map(({ from, to, isNeeded, path, arrow }) => s('g', { class: 'graph-link', 'data-from': from, 'data-to': to },
      s('path', { class: isNeeded ? 'graph-edge' : 'graph-edge follows', d: path }), s('path', { class: 'graph-arrow', d: arrow })));
    replace(svg, s('g', { 'aria-hidden': 'true' }, edges), [...nodes.values()].map((one) => one.node));
  }

  function drawNode({ stage, node: { name, kind } }, { size, places }) {
    const { x, y } = places.get(stage);
    const state = s('text', { class: 'graph-state', x: 32, y: 66 });
    const mark = drawing({ transform: 'translate(13 55) scale(0.875)' });
    const progress = s('rect', { class: 'graph-progress', x: 1, y: size.height - 4, height: 3, width: 0 });
    const lines = linesOf(name);
    const link = s('a', { class: 'graph-node', transform: `translate(${x} ${y})`, 'data-kind': kind, href: address(stage) },
      kind === 'job' ? s('path', { class: 'graph-box', d: box('tasks', size.width, size.height), transform: 'translate(4 -4)' }) : null,
      s('path', { class: 'graph-box', d: box(kind, size.width, size.height) }),
      kind === 'gate' ? s('path', { class: 'graph-posts', d: `M6 7v${size.height - 14}M${size.width - 6} 7v${size.height - 14}` }) : null,
      // The spaces are for speech: the accessible name has the visible words in their order.
      s('text', { class: 'graph-kind', x: 14, y: 17 }, kindOf(kind)), ' ',
      s('text', { class: 'graph-name' }, lines.map((line, index) => s('tspan', { x: 14, y: (lines.length === 1 ? 38 : 32) + index * 14 }, line))), ' ',
      mark, state, progress);
    return {
      node: link,
      stage,
      update(next, isOver) {
        const { name: stateName, tone, label } = stateOf(next, isOver);
        setAttribute(link, 'data-state', stateName);
        setAttribute(link, 'data-tone', tone);
        setAttribute(link, 'aria-label', `${kindOf(kind)} ${name}: ${label}`);
        setAttribute(link, 'aria-current', chosen === stage ? 'true' : null);
        setAttribute(link, 'href', address(stage));
        setAttribute(mark, 'd', drawn(stateName));
        setText(state, label);
        const share = format.share(next.completed + next.failed + next.skipped, next.total);
        setAttribute(progress, 'width', stateName === 'running' ? Math.round(share * (size.width - 2)) : 0);
      },
    };
  }

  // One tab stop; the arrow keys move to the nearest node in their direction.
  function step(event) {
    const [right, down] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [0, 0];
    const here = [...nodes.values()].find((one) => one.node === document.activeElement);
    if ((right === 0 && down === 0) || !here || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const from = plan.places.get(here.stage);
    let best = null, least = Infinity;
    for (const [stage, place] of plan.places) {
      const [x, y] = [place.x - from.x, place.y - from.y];
      const ahead = x * right + y * down;
      const aside = Math.abs(x * down) + Math.abs(y * right);
      if (ahead > 0 && ahead + 2 * aside < least) [best, least] = [stage, ahead + 2 * aside];
    }
    if (best !== null) focus(best);
  }

  function focus(stage) {
    for (const one of nodes.values()) setAttribute(one.node, 'tabindex', one.stage === stage ? 0 : -1);
    nodes.get(stage).node.focus();
  }

  // With a modifier key the browser opens the node's address elsewhere.
  function select(event, stage, isInList) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button > 0) return;
    event.preventDefault();
    choose(stage, isInList);
  }

  function listRow(made) {
    const mark = drawing();
    const state = h('span', { class: 'graph-state' });
    const after = h('span', { class: 'graph-after small muted' });
    const link = h('a', { href: address(made.stage), class: 'graph-row', onclick: (event) => select(event, made.stage, true) },
      s('svg', { viewBox: '0 0 16 16', class: 'graph-mark', 'aria-hidden': 'true' }, mark),
      h('span', { class: 'graph-row-text' },
        h('span', { class: 'graph-name' }, made.node.name),
        h('span', { class: 'line wrap small' }, h('span', { class: 'muted' }, kindOf(made.node.kind)), state), after));
    return {
      node: h('li', {}, link),
      update({ isOver, names, ...next }) {
        const { name, tone, label } = stateOf(next, isOver);
        setAttribute(link, 'data-state', name);
        setAttribute(link, 'data-tone', tone);
        setAttribute(link, 'aria-current', chosen === next.stage ? 'true' : null);
        setAttribute(link, 'href', address(next.stage));
        setAttribute(mark, 'd', drawn(name));
        setText(state, label);
        const named = (stages) => stages.map((stage) => names.get(stage) ?? stage).join(', ');
        setText(after, [
          next.node.needs.length > 0 ? `after ${named(next.node.needs)}` : '',
          next.node.follows.length > 0 ? `after the end of ${named(next.node.follows)}` : '',
        ].filter(Boolean).join('; '));
      },
    };
  }

  return {
    node,
    // Takes the stages with nodes, the selected one or null, and whether the job is finished.
    update(stages, selected, isOver) {
      const now = JSON.stringify(stages.map(({ stage, node: { name, kind, needs, follows } }) => [stage, name, kind, needs, follows]));
      const hasMoved = chosen !== selected;
      chosen = selected;
      if (now !== structure) {
        structure = now;
        draw(stages);
      }
      for (const stage of stages) nodes.get(stage.stage).update(stage, isOver);
      if (hasMoved || !svg.querySelector('.graph-node[tabindex="0"]')) {
        const stop = nodes.has(chosen) ? chosen : stages[0]?.stage;
        for (const one of nodes.values()) setAttribute(one.node, 'tabindex', one.stage === stop ? 0 : -1);
        for (const edge of svg.querySelectorAll('.graph-link')) {
          edge.classList.toggle('near', chosen !== null && [edge.dataset.from, edge.dataset.to].includes(String(chosen)));
        }
      }
      const names = new Map(stages.map(({ stage, node: { name } }) => [stage, name]));
      keyed(list, order(stages, plan).map((stage) => ({ ...stage, isOver, names })), ({ stage }) => stage, listRow);
      showForm();
      if (hasMoved) reveal();
    },
    // Focuses the selected node in the form that is shown.
    focus() {
      if (!list.hidden) list.querySelector('[aria-current]')?.focus();
      else if (nodes.has(chosen)) focus(chosen);
    },
    stop: () => narrow.removeEventListener('change', showForm),
  };
}

const order = (stages, { places }) =>
  [...stages].sort((one, other) => places.get(one.stage).layer - places.get(other.stage).layer || one.stage - other.stage);

// A name of up to 50 characters in two lines, broken after an underscore or a hyphen if there is one.
function linesOf(name) {
  if (name.length <= LINE) return [name];
  const head = name.slice(0, LINE);
  const at = Math.max(head.lastIndexOf('_'), head.lastIndexOf('-')) + 1;
  const cut = at > 0 && name.length - at <= LINE ? at : LINE;
  const rest = name.slice(cut);
  return [name.slice(0, cut), rest.length > LINE ? `${rest.slice(0, LINE - 1)}…` : rest];
}

// Each kind has its shape: rounded, with cut corners (a decision), with posts (a gate), and two sheets (a job).
function box(kind, width, height) {
  const cut = kind === 'decision' ? 14 : 8;
  if (kind === 'decision') {
    return `M${cut} 0H${width - cut}L${width} ${cut}V${height - cut}L${width - cut} ${height}H${cut}L0 ${height - cut}V${cut}Z`;
  }
  return `M${cut} 0H${width - cut}a${cut} ${cut} 0 0 1 ${cut} ${cut}V${height - cut}a${cut} ${cut} 0 0 1 -${cut} ${cut}H${cut}`
    + `a${cut} ${cut} 0 0 1 -${cut} -${cut}V${cut}a${cut} ${cut} 0 0 1 ${cut} -${cut}Z`;
}
