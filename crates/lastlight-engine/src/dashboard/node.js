// What the selected node of a job's graph is, did and resulted in, and the decision at a gate that waits for one.

import { h, newId, redraw, replace, s, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { gateForm } from './gate.js';
import { icon } from './icons.js';
import { json } from './json.js';
import { copyButton, facts, lasting, when } from './parts.js';
import { link } from './router.js';
import { drawing, drawn, kindOf, stateOf } from './states.js';

// `address(stage)` and `choose(stage)` as for the graph; `close()` is called when the user closes the panel; `decided()`
// as for the gate's form.
export function nodePanel({ jobId, address, choose, close, decided }) {
  const title = newId('node');
  const name = h('h2', { id: title, tabindex: -1, class: 'mono' });
  const mark = drawing();
  const word = h('span', {});
  const state = h('span', { class: 'badge' }, s('svg', { viewBox: '0 0 16 16', class: 'graph-mark', 'aria-hidden': 'true' }, mark), word);
  const notices = h('div', {}), gate = h('div', {}), reason = h('div', {}), about = h('div', {}), output = h('div', {});
  const node = h('section', { class: 'card node-panel', 'aria-labelledby': title, hidden: true },
    h('div', { class: 'line wrap' }, name, state, h('span', { class: 'spacer' }),
      h('button', { type: 'button', class: 'icon-button', 'aria-label': 'Close the node', title: 'Close the node', onclick: close }, icon('cancel'))),
    notices, gate, reason, about, output);
  let shown = null;
  const contents = new Map();

  // Draws a part again only if what it shows has changed, so that the focus and a selection of text stay.
  function part(parent, value, draw) {
    const now = JSON.stringify(value);
    if (contents.get(parent) === now) return;
    contents.set(parent, now);
    redraw(parent, draw());
  }

  // The form that had the focus is gone with the decision.
  async function settled() {
    await decided();
    if (node.isConnected && !gate.hasChildNodes() && document.activeElement === document.body) name.focus({ preventScroll: true });
  }

  const links = (stages, all) => (stages.length === 0 ? null : h('span', { class: 'node-links' }, stages.map((stage) => h('a', {
    href: address(stage),
    onclick(event) {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      choose(stage);
      name.focus({ preventScroll: true });
    },
  }, all.get(stage)?.node.name ?? `stage ${stage}`))));

  return {
    node,
    // The stage with its node, all stages by number, and the job.
    show(stage, all, job) {
      const { node: place } = stage;
      const childId = place.childJobId;
      if (shown !== stage.stage) {
        shown = stage.stage;
        contents.clear();
        for (const parent of [notices, gate, reason, about, output]) replace(parent);
      }
      node.hidden = false;
      const isOver = format.isOver(job.status);
      const { name: stateName, tone, label } = stateOf(stage, isOver);
      setText(name, place.name);
      setAttribute(state, 'data-tone', tone);
      setAttribute(mark, 'd', drawn(stateName));
      setText(word, label);
      const hadFocus = gate.contains(document.activeElement);
      part(gate, [place.waitsForDecision, place.decideUntil], () => (!place.waitsForDecision ? [] : [
        h('p', { class: 'muted' }, 'The job waits here until somebody decides',
          place.decideUntil ? [', or until ', deadline(place.decideUntil), ', when the gate decides by itself.'] : '.'),
        gateForm({ jobId, name: place.name, notices, decided: settled })]));
      if (hadFocus && !gate.contains(document.activeElement)) name.focus({ preventScroll: true });
      const result = job.stageResults?.[stage.stage];
      const reasons = [...(result?.errors ?? []).map(({ task_index: index, error }) => (index ? `${index}: ${error}` : String(error))),
        ...(result?.problem ? [result.problem] : [])];
      part(reason, [reasons, stateName], () => (reasons.length === 0 ? []
        : [h('h3', {}, stateName === 'failed' ? 'Why it failed' : 'Errors of its tasks'), h('pre', { class: 'error-text', tabindex: 0 }, reasons.join('\n'))]));
      const dependents = (field) => [...all.values()].filter((other) => other.node?.[field].includes(stage.stage)).map((other) => other.stage);
      const counts = [['completed', 'completed'], ['failed', 'failed'], ['skipped', 'skipped'], ['running', 'running']]
        .filter(([field]) => stage[field] > 0).map(([field, text]) => `${format.count(stage[field])} ${text}`).join(', ');
      part(about, [place.needs, place.follows, childId, counts, stage.total, stage.startedAt, stage.finishedAt, isOver && !stage.finishedAt], () => facts([
        ['Kind', kindOf(place.kind)],
        ['Stage', `${stage.stage} of ${all.size}`],
        ['Needs', links(place.needs, all)],
        ['After the end of', links(place.follows, all)],
        ['Needed by', links(dependents('needs'), all)],
        ['Followed by', links(dependents('follows'), all)],
        ['Best effort', place.bestEffort ? 'its failure does not fail the job' : null],
        ['Tasks', stage.total > 0 ? `${format.count(stage.total)}${counts ? `: ${counts}` : ''}` : null],
        ['Its job', childId ? h('span', { class: 'id' }, h('a', { href: link(['jobs', childId]) }, h('code', {}, format.shortId(childId))),
          copyButton(() => childId, 'the id of its job')) : null],
        ['Started', stage.startedAt ? when(stage.startedAt).node : null],
        [stage.finishedAt ? 'Took' : 'So far', stage.startedAt && (stage.finishedAt || !isOver) ? lasting(stage.startedAt, stage.finishedAt).node : null],
      ]).node);
      // What the tasks of a node were summed up to is its output.
      const outcome = place.output ?? result?.summary ?? null;
      part(output, outcome, () => (outcome === null ? []
        : [h('h3', {}, place.kind === 'gate' ? 'The decision' : 'Output'), json(outcome, { what: `the output of ${place.name}` })]));
    },
    hide() {
      shown = null;
      node.hidden = true;
    },
    focus: () => {
      name.focus({ preventScroll: true });
      node.scrollIntoView({ block: 'nearest' });
    },
  };
}

// A waiting gate is planned for with the date, not only with "in 3 h".
const deadline = (text) => h('span', {}, `${format.exactly(format.time(text))} (`, when(text).node, ')');
