// The state of a node of a job's graph, as a word, a colour and a drawing.

import { s } from './dom.js';
import * as format from './format.js';

// Drawings with strokes on a grid of 16: the shape alone tells the states apart.
const DRAWINGS = {
  waits: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11Z',
  ready: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 5v3l2 1.5',
  running: 'M5 3v10l8-5-8-5Z',
  completed: 'M3 8.5l3.5 3.5L13 4.5',
  failed: 'M4 4l8 8M12 4l-8 8',
  skipped: 'M3 4l4 4-4 4M8 4l4 4-4 4',
  rejected: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM4.2 4.2l7.6 7.6',
  decision: 'M6 6a2 2 0 1 1 2.8 1.8c-.5.3-.8.7-.8 1.2v.6M8 12v.1',
  stopped: 'M4 4h8v8H4z',
};

const KINDS = { tasks: 'Tasks', decision: 'Decision', gate: 'Gate', job: 'Job' };

export const kindOf = (kind) => KINDS[kind] ?? String(kind);

export const drawing = (attributes = {}) => s('path', { class: 'state-drawing', 'aria-hidden': 'true', ...attributes });
export const drawn = (name) => DRAWINGS[name] ?? DRAWINGS.waits;

// { name, tone, label } of a stage with a node. `isOver`: whether its job is finished.
export function stateOf(stage, isOver) {
  const { node } = stage;
  const failed = stage.failed > 0 ? `, ${format.count(stage.failed)} failed` : '';
  const state = (name, tone, label) => ({ name, tone, label });
  if (node.outcome === 'completed') return state('completed', 'ok', `Completed${failed}`);
  if (node.outcome === 'failed') return state('failed', 'bad', node.bestEffort ? 'Failed, best effort' : 'Failed');
  if (node.outcome === 'skipped') return state('skipped', 'off', 'Skipped');
  if (node.outcome === 'rejected') return state('rejected', 'warn', 'Rejected');
  // Its job ended before it.
  if (isOver) return state('stopped', 'off', node.waitsFor > 0 ? 'Not reached' : 'Stopped');
  if (node.waitsForDecision) return state('decision', 'warn', 'Waits for a decision');
  if (node.waitsFor > 0) return state('waits', 'idle', `Waits for ${format.plural(node.waitsFor, 'node')}`);
  if (node.kind === 'job' && node.childJobId) return state('running', 'run', 'Its job runs');
  if (stage.total > 0) {
    return state('running', 'run', `Running ${format.count(stage.completed + stage.failed)} / ${format.count(stage.total)}${failed}`);
  }
  return state('ready', 'idle', 'Ready');
}
