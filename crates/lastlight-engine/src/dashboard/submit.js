// Submit a job: the form is built from the job type's JSON Schema; validation errors of the app are shown at their fields.

import { API, ask } from './api.js';
import { h, newId, replace, setText } from './dom.js';
import * as format from './format.js';
import { icon } from './icons.js';
import { choice, heading, notice, sentence, showTrouble, toast } from './parts.js';
import { poll } from './poll.js';
import { note } from './router.js';

// Fields that every job type has and most submissions omit.
const SHARED = ['dataset_id', 'resource_id', 'version_id', 'system'];

export function submit({ signal, parts: [asked] }) {
  const content = h('div', {}, h('p', { class: 'faint' }, 'Loading the job types …'));
  // Polled until they are loaded; they do not change while the app runs.
  let isShown = false;
  const poller = poll(async (stop) => {
    const { job_types: types } = await ask('jobs/types', { signal: stop });
    if (!isShown) show(types);
    isShown = true;
    return Infinity;
  }, { every: Infinity, signal, failed(problem) {
    if (!isShown) showTrouble(content, problem, () => poller.now());
  } });

  function show(types) {
    if (types.length === 0) {
      replace(content, notice('info', 'This app has no job types', 'Its catalog is empty.'));
      return;
    }
    let type = types.find(({ name }) => name === asked) ?? types[0];
    const place = h('div', {});
    const open = (name) => {
      type = types.find((candidate) => candidate.name === name);
      note(['submit', name], {});
      replace(place, form(type, signal, () => poller.now()));
    };
    const picker = choice({ label: 'Job type', options: types.map(({ name }) => [name, name]), value: type.name, onchange: open });
    replace(content, asked && type.name !== asked ? notice('info', `There is no job type ${asked}`, 'Choose one of the existing job types.') : null,
      picker.node, place);
    replace(place, form(type, signal, () => poller.now()));
  }

  return h('section', { class: 'view narrow' }, heading('Submit a job'), content);
}

// `lost` is called when the app could not be reached, so that the caller polls until it is available again.
function form(type, signal, lost) {
  const schema = type.parameters ?? {};
  const required = new Set(schema.required ?? []);
  const properties = Object.entries(schema.properties ?? {}).filter(([name]) => name !== 'use_service_bus');
  const fields = new Map(properties.map(([name, property]) => [name, field(name, property, required.has(name))]));
  const own = properties.filter(([name]) => !SHARED.includes(name)).map(([name]) => fields.get(name).node);
  const shared = properties.filter(([name]) => SHARED.includes(name)).map(([name]) => fields.get(name).node);

  let path = type.prescribed_path === 'service_bus' ? 'service_bus' : 'queue_storage';
  const pathField = type.prescribed_path
    ? h('p', { class: 'muted' }, `This job type always uses ${format.path(type.prescribed_path)}.`)
    : labelled('Path', choice({
      label: 'Path', value: path, onchange: (value) => { path = value; draw(); },
      options: [['queue_storage', 'Storage Queue'], ['service_bus', 'Service Bus']],
    }).node);

  // JSON text instead of an object: a number is sent as it was typed, with all its digits.
  function body() {
    const members = [...fields].map(([name, { text }]) => [name, text()]).filter(([, text]) => text !== null);
    if (!type.prescribed_path) members.push(['use_service_bus', String(path === 'service_bus')]);
    return `{${members.map(([name, text]) => `${JSON.stringify(name)}: ${text}`).join(', ')}}`;
  }

  const preview = h('code', {});
  const draw = () => setText(preview, `curl -X POST ${new URL(`jobs/submit/${type.name}`, API)} -d '${body().replaceAll("'", "'\\''")}'`);
  const notices = h('div', { class: 'form-notices' });
  const send = h('button', { class: 'primary', type: 'submit' }, icon('submit'), 'Submit');

  async function submitIt(event) {
    event?.preventDefault();
    replace(notices);
    for (const { clear } of fields.values()) clear();
    const wrong = [...fields.values()].filter(({ check }) => !check());
    if (wrong.length > 0) {
      wrong[0].focus();
      return;
    }
    send.disabled = true;
    try {
      const answer = await ask(`jobs/submit/${encodeURIComponent(type.name)}`, { text: body() });
      toast('ok', answer.status === 'created' ? 'Submitted.' : `The same job was already submitted: ${answer.status}.`);
      if (answer.queue_info?.queued === false && answer.status === 'created') toast('warn', answer.message);
      if (!signal.aborted) location.hash = `#/jobs/${answer.job_id}`;
    } catch (problem) {
      if (problem.kind === 'unreachable') {
        problem.advice = 'The job may or may not have been submitted. Submitting it again is safe: the same submission leads to the same job.';
        lost();
      }
      // If the user has opened another page, the error is shown there.
      if (signal.aborted) toast('bad', [`Submitting ${type.name} failed.`, problem.message, problem.advice].filter(Boolean).join(' '));
      else refuse(problem);
    } finally {
      send.disabled = false;
      if (!signal.aborted && document.activeElement === document.body) send.focus();
    }
  }

  function refuse(problem) {
    let first = null;
    const rest = [];
    for (const { field: name, allowed, check, problem: text } of problem.body?.problems ?? []) {
      const at = fields.get(name);
      if (at && allowed) {
        at.refuse(`It must be ${allowed}.`);
        first ??= at;
      } else rest.push(name && allowed ? `${name} must be ${allowed}.` : `${sentence(check ?? name ?? 'problem')}: ${text ?? allowed}`);
    }
    if (!first && rest.length === 0) showTrouble(notices, problem, submitIt);
    else if (rest.length > 0) replace(notices, notice('bad', sentence(problem.title ?? 'rejected'), ...rest));
    first?.focus();
  }

  const node = h('form', { class: 'submit-form', novalidate: true, 'aria-label': `Submit ${type.name}`, onsubmit: submitIt, oninput: draw },
    type.description ? h('p', { class: 'muted' }, type.description) : null,
    own.length > 0 ? own : h('p', { class: 'muted' }, 'This job type takes no parameters.'),
    pathField,
    shared.length > 0 ? h('details', { class: 'shared' }, h('summary', {}, 'Dataset, resource, version and system (optional)'), shared) : null,
    notices,
    h('div', { class: 'row' }, send),
    h('details', { class: 'preview' }, h('summary', {}, 'The same as an HTTP request'), h('pre', { tabindex: 0 }, preview)));
  draw();
  return node;
}

const labelled = (label, node) => h('div', { class: 'field' }, h('span', { class: 'label' }, label), node);

// A field for one property. text(): its JSON, or null if it is omitted. check(): whether it is valid.
function field(name, property, isRequired) {
  const fieldId = newId('field');
  const kind = kindOf(property);
  const help = h('p', { class: 'help', id: `${fieldId}-help` }, helpOf(property, isRequired));
  const error = h('p', { class: 'field-error', id: `${fieldId}-error`, hidden: true });
  const input = inputOf(kind, property, {
    id: fieldId, name, required: isRequired && kind !== 'boolean', 'aria-describedby': `${fieldId}-help ${fieldId}-error`,
  });
  const refuse = (text) => {
    setText(error, text);
    error.hidden = false;
    input.setAttribute('aria-invalid', 'true');
    input.closest('details')?.setAttribute('open', '');
  };
  const clear = () => {
    error.hidden = true;
    input.removeAttribute('aria-invalid');
  };
  const label = h('label', { for: fieldId }, name, isRequired ? h('span', { class: 'faint' }, ' required') : null);
  return {
    node: kind === 'boolean'
      ? h('div', { class: 'field' }, h('div', { class: 'check' }, input, label), help, error)
      : h('div', { class: 'field' }, label, input, help, error),
    refuse, clear, focus: () => input.focus(),
    text() {
      if (kind === 'boolean') return input.checked === Boolean(property.default) && !isRequired ? null : String(input.checked);
      if (input.value === '') return null;
      if (kind === 'number' || kind === 'json') return input.value.trim();
      if (kind === 'enum') return JSON.stringify(property.enum[Number(input.value)]);
      return JSON.stringify(input.value);
    },
    // Only checks that the browser decides reliably; the app checks the rest.
    check() {
      const { validity } = input;
      if (validity.badInput) refuse('It must be a number.');
      else if (validity.valueMissing) refuse('This field is required.');
      else if (validity.rangeUnderflow || validity.rangeOverflow || validity.stepMismatch) refuse(`It must be ${rangeOf(property)}.`);
      else if (kind === 'json' && input.value.trim() !== '' && !isJson(input.value)) refuse('It must be JSON.');
      return error.hidden;
    },
  };
}

function kindOf(property) {
  if (Array.isArray(property.enum)) return 'enum';
  const types = [property.type ?? []].flat().filter((type) => type !== 'null');
  if (types.length !== 1) return types.length === 0 && property.maxLength ? 'text' : 'json';
  return { integer: 'number', number: 'number', boolean: 'boolean', string: 'text' }[types[0]] ?? 'json';
}

function inputOf(kind, property, attributes) {
  const { default: preset } = property;
  if (kind === 'boolean') return h('input', { ...attributes, type: 'checkbox', checked: preset === true });
  if (kind === 'enum') {
    const at = property.enum.indexOf(preset);
    return h('select', attributes,
      attributes.required && at >= 0 ? null : h('option', { value: '' }, ''),
      property.enum.map((value, index) => h('option', { value: String(index), selected: index === at }, String(value))));
  }
  if (kind === 'json') return h('textarea', { ...attributes, rows: 4, spellcheck: 'false', class: 'mono', value: preset === undefined ? '' : JSON.stringify(preset) });
  if (kind === 'number') {
    return h('input', {
      ...attributes, type: 'number', min: property.minimum, max: property.maximum, autocomplete: 'off',
      step: [property.type].flat().includes('integer') ? 1 : 'any', value: preset ?? '',
    });
  }
  // The app checks lengths: it counts characters, while the browser counts UTF-16 code units.
  return h('input', { ...attributes, type: 'text', autocomplete: 'off', spellcheck: 'false', value: preset ?? '' });
}

function rangeOf({ type, minimum, maximum }) {
  const what = [type].flat().includes('integer') ? 'a whole number' : 'a number';
  if (minimum !== undefined && maximum !== undefined) return `${what} from ${format.count(minimum)} to ${format.count(maximum)}`;
  if (minimum !== undefined) return `${what} of at least ${format.count(minimum)}`;
  if (maximum !== undefined) return `${what} of at most ${format.count(maximum)}`;
  return what;
}

function helpOf(property, isRequired) {
  const kind = kindOf(property);
  const parts = [];
  if (property.description) parts.push(property.description.replace(/\.?$/, '.'));
  if (kind === 'number') parts.push(`${sentence(rangeOf(property))}.`);
  else if (kind === 'text' && property.maxLength) parts.push(`${property.minLength ?? 0} to ${format.count(property.maxLength)} characters.`);
  else if (kind === 'json') parts.push('JSON.');
  if (property.default !== undefined && property.default !== null) parts.push(`Default: ${JSON.stringify(property.default)}.`);
  else if (!isRequired && kind !== 'boolean') parts.push('Optional.');
  return parts.join(' ');
}

function isJson(text) {
  try { JSON.parse(text); return true; } catch { return false; }
}
