// A job whose stages are nodes of a graph: the gates that wait for a decision, the graph, and the selected node.

import { h, keyed, setText } from './dom.js';
import * as format from './format.js';
import { graph } from './graph.js';
import { icon } from './icons.js';
import { nodePanel } from './node.js';
import { announce, notice } from './parts.js';
import { link } from './router.js';

export const isGraph = (job) => job.progress.some(({ node }) => node);

// Number of nodes that have an outcome.
export const ended = (job) => job.progress.filter(({ node }) => node?.outcome).length;

export const nameOf = (job, stage) => job?.progress.find((one) => String(one.stage) === String(stage))?.node?.name;

// `choose(stage)` selects a node, or none if it is null. `decided()` is called after a decision at a gate, and resolves
// when the page shows the state after it.
export function nodeView({ jobId, signal, choose, decided }) {
  let current = null;
  const address = (stage) => link(['jobs', jobId], { node: nameOf(current, stage) });
  const drawing = graph({
    address,
    choose(stage, isInList) {
      choose(stage);
      announce(`${nameOf(current, stage)} is selected. Its details and its tasks are below.`);
      if (isInList) panel.focus();
    },
  });
  const panel = nodePanel({
    jobId, address, choose, decided,
    close() {
      drawing.focus();
      choose(null);
    },
  });
  const waiting = h('div', { class: 'waiting-gates' });
  const missing = h('div', {});
  signal.addEventListener('abort', drawing.stop);
  let waited = new Set(), lost = '';

  return {
    node: h('div', { class: 'nodes' }, waiting, drawing.node, missing, panel.node),
    // The job; the number of the selected stage as text, or ''; the name of a node in the address that the job does not
    // have, or ''.
    update(job, selected, unknown) {
      current = job;
      const stages = job.progress.filter(({ node }) => node);
      const all = new Map(stages.map((stage) => [stage.stage, stage]));
      const chosen = all.get(Number(selected));
      const gates = stages.filter(({ node }) => node.waitsForDecision);
      for (const { stage, node } of gates) if (!waited.has(stage)) announce(`The gate ${node.name} waits for a decision.`);
      waited = new Set(gates.map(({ stage }) => stage));
      keyed(waiting, gates, ({ stage }) => stage, gateNotice);
      drawing.update(stages, chosen?.stage ?? null, format.isOver(job.status));
      if (unknown !== lost) {
        lost = unknown;
        missing.replaceChildren(...(unknown === '' ? [] : [notice('warn', 'Unknown node', `This job has no node ${unknown}.`)]));
      }
      if (chosen) panel.show(chosen, all, job);
      else panel.hide();
    },
  };

  function gateNotice({ stage }) {
    const text = h('span', {});
    return {
      node: h('div', { class: 'callout waiting-gate', 'data-tone': 'warn', role: 'note' }, text,
        h('button', { type: 'button', onclick() { choose(stage); panel.focus(); } }, icon('look'), 'Decide')),
      update: ({ node }) => setText(text, `The gate ${node.name} waits for a decision.`),
    };
  }
}
