// The workflow file that a job runs, as it was when the job was submitted.

import { ask } from './api.js';
import { h, replace, setAttribute } from './dom.js';
import { copyButton, showTrouble } from './parts.js';

// `update()` requests the file, once: a job never changes its file.
export function definition({ jobId, signal }) {
  const node = h('div', {});
  let isAsked = false;
  async function update() {
    if (isAsked) return;
    isAsked = true;
    replace(node, h('p', { class: 'faint' }, 'Loading the definition …'));
    setAttribute(node, 'aria-busy', 'true');
    try {
      const { definition: file } = await ask(`db/jobs/${encodeURIComponent(jobId)}`, { signal });
      replace(node, file ? shown(file)
        : h('p', { class: 'faint' }, 'This job has no workflow file: its job type is made in code, or the app is older than this page.'));
    } catch (problem) {
      isAsked = false;
      if (!signal.aborted) showTrouble(node, problem, update);
    } finally {
      setAttribute(node, 'aria-busy', null);
    }
  }
  return { node, update };
}

const shown = ({ name, version, source }) => [
  h('p', { class: 'muted' }, `The workflow ${name}${typeof version === 'number' ? `, version ${version}` : ''}, as it was when the job was submitted. `,
    'Later changes to the file do not change the job.'),
  h('div', { class: 'json-box' },
    h('pre', { class: 'json definition', tabindex: 0, 'aria-label': 'The definition' }, source),
    h('div', { class: 'json-tools' }, copyButton(() => source, 'the definition'))),
];
