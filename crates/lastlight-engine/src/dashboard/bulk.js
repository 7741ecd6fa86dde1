// One action on all jobs that the list's filters find: first their number and some of them, then the progress, which can be
// stopped.

import { ask } from './api.js';
import { h, replace } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { confirm, select, toast } from './parts.js';
import { poll } from './poll.js';
import { link } from './router.js';

const EVERY = 2000;
const ACTIONS = [
  ['', 'All of these jobs …'], ['cancel', 'Cancel'], ['retry', 'Retry'], ['pause', 'Pause'], ['resume', 'Resume'],
  ['resubmit', 'Run again'], ['delete', 'Delete'],
];
const label = (action) => ACTIONS.find(([name]) => name === action)?.[1] ?? action;

// `conditions()` returns the filter as the parameters of the list of jobs, without empty ones.
export function bulk({ conditions, signal }) {
  const progress = h('div', { role: 'status' });
  const choice = select({ label: 'Change all jobs of the list', value: '', options: ACTIONS, onchange: (action) => { choice.update('', ACTIONS); if (action) begin(action); } });
  // Operations that this page began.
  const begun = new Set();

  const poller = poll(async (stop) => {
    if (begun.size === 0) return undefined;
    const { operations } = await ask('jobs/bulk', { level: 'admin', signal: stop });
    const shown = operations.filter(({ operation_id: id }) => begun.has(id));
    replace(progress, shown.map(line));
    for (const { operation_id: id, state } of shown) if (state !== 'running') begun.delete(id);
    return undefined;
  }, { every: EVERY, signal });

  async function begin(action) {
    const order = (isConfirmed) => ask('jobs/bulk', { level: 'admin', signal, json: { action, filter: conditions(), confirm: isConfirmed } });
    try {
      const found = await order(false);
      if (found.jobs === 0) {
        toast('idle', found.message);
        return;
      }
      const counted = `${format.plural(found.jobs, 'job')}${found.has_more ? ' or more' : ''}`;
      const isWanted = await confirm({
        title: `${label(action)}: ${counted}?`, action: label(action), isGrave: ['cancel', 'delete', 'resubmit'].includes(action),
        text: [h('span', {}, 'Among them: ', found.sample.map((job, place) => [place > 0 ? ', ' : '',
          h('a', { href: link(['jobs', job.job_id]) }, `${job.job_type} ${format.shortId(job.job_id)}`)]), '.'),
          'Jobs of any age are meant, also those that this page does not show. The sweep changes one after the other.'],
      });
      if (!isWanted || signal.aborted) return;
      const { operation, message } = await order(true);
      if (operation) begun.add(operation.operation_id);
      toast('ok', message);
      poller.now();
    } catch (problem) {
      if (!signal.aborted) toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
  }

  function line(operation) {
    const isRunning = operation.state === 'running';
    const of = `${format.count(operation.jobs)}${operation.has_more ? ' or more' : ''}`;
    const refused = operation.refused > 0 ? `, ${format.count(operation.refused)} refused: ${operation.last_refusal ?? ''}` : '';
    return h('p', { class: 'line wrap' },
      h('span', {}, `${label(operation.action)}: ${format.count(operation.done)} of ${of} jobs${refused}`),
      isRunning ? h('button', { type: 'button', onclick: (event) => stop(operation, event.currentTarget) }, icon('cancel'), 'Stop')
        : h('span', { class: 'muted' }, operation.state));
  }

  async function stop({ operation_id: id }, button) {
    button.disabled = true;
    try {
      await ask(`jobs/bulk/stop/${id}`, { method: 'POST', level: 'admin' });
      toast('ok', 'Stopped. The jobs that were changed stay changed.');
    } catch (problem) {
      toast('bad', [problem.message, problem.advice].filter(Boolean).join(' '));
    }
    poller.now();
  }

  return { node: choice.node, progress };
}
