// A job's stages: progress, rate and estimated time left of each.

import { h, keyed, setAttribute, setText } from './dom.js';
import * as format from './format.js';
import { bar } from './parts.js';

// `choose(stage)` is called when the user selects a stage to see its tasks.
export function stageList(choose) {
  const list = h('ol', { class: 'stages' });
  const make = (stage) => {
    const name = h('span', { class: 'stage-name' });
    const progress = bar(`Stage ${stage.stage}`);
    const share = h('span', { class: 'num stage-share' });
    const numbers = h('span', { class: 'num' });
    const pace = h('span', { class: 'num muted' });
    const parts = h('span', { class: 'stage-parts small' });
    const node = h('li', {},
      h('button', { class: 'stage', type: 'button', title: 'Show the tasks of this stage', onclick: () => choose(stage.stage) },
        h('span', { class: 'stage-number num', 'aria-hidden': 'true' }, stage.stage),
        h('span', { class: 'stage-body' },
          h('span', { class: 'line' }, name, h('span', { class: 'spacer' }), pace, numbers, share),
          progress.node, parts)));
    return {
      node,
      update(next) {
        const isBegun = next.total > 0 || next.planned;
        setAttribute(node, 'data-begun', isBegun);
        setText(name, next.taskType ?? `Stage ${next.stage}`);
        const isOver = next.planned && next.open === 0;
        const done = progress.update({
          ...next, isOver,
          label: `Stage ${next.stage}: ${format.count(next.completed)} of ${format.count(next.total)} tasks completed, ${format.count(next.failed)} failed`,
        });
        setText(share, isBegun ? format.percent(done) : '');
        setText(numbers, isBegun ? `${format.count(next.completed + next.failed)} / ${format.count(next.total)}` : 'not started');
        setText(pace, isOver ? took(next) : rate(next));
        keyed(parts, numbersOf(next), ([key]) => key, part);
      },
    };
  };
  return {
    node: list,
    update(stages, totalStages, status) {
      const begun = new Map(stages.map((stage) => [stage.stage, stage]));
      const all = Array.from({ length: Math.max(totalStages, stages.length) }, (_, index) => begun.get(index + 1) ?? {
        stage: index + 1, planned: false, total: 0, open: 0, completed: 0, failed: 0, skipped: 0,
      });
      // A stage has its row from the end of the previous stage, and may never start: the job is paused or finished.
      const isPlanning = (stage) => !stage.planned && status === 'processing' && begun.has(stage.stage);
      keyed(list, all.map((stage) => ({ ...stage, isPlanning: isPlanning(stage) })), (stage) => stage.stage, make);
    },
  };
}

function part([, tone]) {
  const node = h('span', { class: 'num', 'data-tone': tone });
  return { node, update: ([, , text]) => setText(node, text) };
}

function numbersOf(stage) {
  if (!(stage.total > 0)) return stage.isPlanning ? [['planning', 'run', 'planning']] : [];
  const shown = [
    ['completed', 'ok', stage.completed, 'completed'],
    ['failed', 'bad', stage.failed, 'failed'],
    ['skipped', 'off', stage.skipped, 'skipped'],
    ['running', 'run', stage.running, 'running'],
    ['queued', 'idle', stage.queued, 'queued'],
    ['pending', 'idle', stage.pendingQueue, 'to be sent'],
  ].filter(([, , number]) => number > 0).map(([key, tone, number, word]) => [key, tone, `${format.count(number)} ${word}`]);
  if (stage.isPlanning) shown.push(['planning', 'run', 'still planning']);
  return shown;
}

function rate({ ratePerSecond, etaSeconds }) {
  const parts = [];
  if (ratePerSecond > 0) parts.push(`${format.measure(ratePerSecond)}/s`);
  if (typeof etaSeconds === 'number') parts.push(`${format.duration(Math.ceil(etaSeconds) * 1000)} left`);
  return parts.join(' · ');
}

function took({ startedAt, finishedAt, ratePerSecond }) {
  const [from, until] = [format.time(startedAt), format.time(finishedAt)];
  const parts = [];
  if (ratePerSecond > 0) parts.push(`${format.measure(ratePerSecond)}/s`);
  if (from !== null && until !== null) parts.push(`took ${format.duration(Math.max(0, until - from))}`);
  return parts.join(' · ');
}
