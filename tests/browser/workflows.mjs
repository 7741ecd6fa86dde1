// The workflow files of the cloud under test, by name.

// Every kind of node and both kinds of dependencies. It waits at its gate.
const everyKind = `workflow: every_kind
description: Every kind of node.
version: 7

parameters:
  tag: {type: str, required: true, description: "Tells the jobs of the tests apart."}
  size: {type: int, default: 3000}

nodes:
  check:
    type: task
    handler: echo
    params: [size]
    constants: {parts: [1, 2, 3]}

  by_size:
    type: conditional
    depends_on: [check]
    condition: check.result.size
    branches:
      - {name: large, condition: "gt 2000", next: [tiles]}
      - {name: small, default: true, next: [whole]}

  tiles:
    type: fan_out
    source: check.result.parts
    task:
      handler: echo
      params: {number: "{{ item }}"}

  whole: {type: task, handler: echo, params: [size]}

  all_tiles: {type: fan_in, depends_on: [tiles], aggregation: count}

  thumbnails_of_all_tiles_for_the_catalogue:
    type: task
    handler: fail
    constants: {message: "there is no space for thumbnails"}
    best_effort: true
    depends_on: [check]

  approve:
    type: gate
    gate_type: approval
    depends_on: ["all_tiles?", "whole?", "thumbnails_of_all_tiles_for_the_catalogue?"]
    timeout_seconds: 86400
    on_timeout: reject

  publish:
    type: task
    handler: echo
    receives: {decision: approve.decision}
    depends_on: [approve]

  index:
    type: job
    job_type: index_entry
    parameters: {tag: "{{ inputs.tag }}"}
    depends_on: [publish]
`;

const indexEntry = `workflow: index_entry
version: 1
parameters:
  tag: {type: str, required: true}
nodes:
  write: {type: task, handler: echo, params: [tag]}
`;

// Its tasks wait for workers of a queue.
const atWorkers = `workflow: at_workers
version: 1
parameters:
  tag: {type: str, required: true}
  tiles: {type: list, default: [1, 2, 3]}
nodes:
  tiles:
    type: fan_out
    queue: browser
    source: params.tiles
    task: {handler: raster, params: {tile: "{{ item }}"}}
`;

// Runs until it is cancelled.
const endless = `workflow: endless
version: 1
parameters:
  tag: {type: str, required: true}
nodes:
  work: {type: task, handler: sleep, constants: {seconds: 80000}}
  after_work: {type: task, handler: echo, depends_on: [work]}
`;

// 100 nodes in 20 layers of 5. Each node of a layer depends on two of the layer before, and some on one of the layer
// before that.
function hundred() {
  const name = (layer, at) => `step_${String(layer).padStart(2, '0')}_${at}${at === 0 ? '_with_a_name_as_long_as_the_format_allows' : ''}`;
  const nodes = [];
  for (let layer = 0; layer < 20; layer += 1) {
    for (let at = 0; at < 5; at += 1) {
      const before = layer === 0 ? [] : [name(layer - 1, at), name(layer - 1, (at * 2 + layer) % 5)];
      if (layer > 1 && at === 2) before.push(`${name(layer - 2, 4)}?`);
      const depends = [...new Set(before)].map((one) => JSON.stringify(one)).join(', ');
      nodes.push(`  ${name(layer, at)}: {type: task, handler: echo, constants: {layer: ${layer}}, depends_on: [${depends}]}`);
    }
  }
  return `workflow: hundred\nversion: 1\nparameters:\n  tag: {type: str, required: true}\nnodes:\n${nodes.join('\n')}\n`;
}

export const WORKFLOWS = { every_kind: everyKind, index_entry: indexEntry, endless, at_workers: atWorkers, hundred: hundred() };
