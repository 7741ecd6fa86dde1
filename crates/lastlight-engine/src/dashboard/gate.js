// The decision at a gate: approve or reject, with an optional name, comment and data.

import { ask } from './api.js';
import { h, newId, replace, setAttribute, setText } from './dom.js';
import { exactly } from './exact.js';
import { icon } from './icons.js';
import { confirm, showTrouble, toast } from './parts.js';

const SETTING = 'lastlight.by';
const nameBefore = () => {
  try { return sessionStorage.getItem(SETTING) ?? ''; } catch { return ''; }
};
function keepName(name) {
  try { sessionStorage.setItem(SETTING, name); } catch { /* it is typed again */ }
}

// `notices` is where a refusal is shown: it outlasts the form, which goes once the gate is decided. `decided()` is called
// after every answer of the app, and resolves when the page shows the state after it.
export function gateForm({ jobId, name, notices, decided }) {
  const prefix = newId('gate');
  const by = h('input', { id: `${prefix}-by`, autocomplete: 'name', value: nameBefore() });
  const comment = h('textarea', { id: `${prefix}-comment`, rows: 2 });
  const data = h('textarea', { id: `${prefix}-data`, rows: 2, spellcheck: 'false', 'aria-describedby': `${prefix}-help ${prefix}-error`, oninput: () => { if (data.hasAttribute('aria-invalid')) check(); } });
  const dataError = h('p', { id: `${prefix}-error`, class: 'field-error', role: 'alert', hidden: true });
  const button = (decision, label, kind, drawing) =>
    h('button', { type: 'button', class: kind, onclick: () => decide(decision) }, icon(drawing), label);
  const buttons = [button('approve', 'Approve', 'primary', 'accept'), button('reject', 'Reject', 'danger-quiet', 'cancel')];

  // The data as it was typed, so that its numbers keep all digits; undefined if it is not JSON.
  function check() {
    const text = data.value.trim();
    let problem = '';
    try { if (text !== '') exactly(text); } catch (error) { problem = `This is not valid JSON: ${error.message}.`; }
    setAttribute(data, 'aria-invalid', problem === '' ? null : 'true');
    setText(dataError, problem);
    dataError.hidden = problem === '';
    return problem === '' ? text : undefined;
  }

  async function decide(decision) {
    const text = check();
    if (text === undefined) {
      data.focus();
      return;
    }
    if (!await confirm(QUESTIONS[decision](name))) return;
    await send(decision, text);
  }

  async function send(decision, text) {
    for (const one of buttons) one.disabled = true;
    keepName(by.value.trim());
    const fields = { decision, by: by.value.trim() || undefined, comment: comment.value.trim() || undefined };
    const body = JSON.stringify(fields);
    try {
      const answer = await ask(`jobs/gate/${encodeURIComponent(jobId)}/${encodeURIComponent(name)}`, {
        method: 'POST', text: text === '' ? body : `${body.slice(0, -1)},"data":${text}}`,
      });
      replace(notices);
      toast('ok', answer.message);
    } catch (problem) {
      showTrouble(notices, problem, () => send(decision, text));
    }
    await decided();
    for (const one of buttons) one.disabled = false;
    // A disabled button loses the focus.
    if (form.isConnected && document.activeElement === document.body) buttons[decision === 'approve' ? 0 : 1].focus();
  }

  const form = h('form', { class: 'gate-form', 'aria-label': `Decision at ${name}`, onsubmit: (event) => event.preventDefault() },
    h('div', { class: 'gate-fields' },
      h('div', { class: 'field' }, h('label', { for: by.id }, 'Your name ', h('span', { class: 'faint' }, 'optional')), by),
      h('div', { class: 'field' }, h('label', { for: comment.id }, 'Comment ', h('span', { class: 'faint' }, 'optional')), comment),
      h('div', { class: 'field' }, h('label', { for: data.id }, 'Data ', h('span', { class: 'faint' }, 'optional, JSON')), data,
        h('p', { id: `${prefix}-help`, class: 'help' }, 'The gate’s result, which later nodes can read: { "region": "nz" }, for example.'), dataError)),
    h('div', { class: 'row' }, buttons));
  return form;
}

const QUESTIONS = {
  approve: (name) => ({
    title: `Approve ${name}?`, action: 'Approve', isGrave: false,
    text: ['The job continues after this gate.', 'The decision cannot be changed later.'],
  }),
  reject: (name) => ({
    title: `Reject ${name}?`, action: 'Reject',
    text: ['What needs this gate is skipped; the rest of the job continues.', 'The decision cannot be changed later.'],
  }),
};
