// The app's HTTP API: one way to ask, one kind of error. Knows keys and the connection, and nothing of what is shown.

import { exactly } from './exact.js';

// This file is <prefix>/dashboard/api.js: what it asks for is beside that folder, whatever the route prefix is.
export const API = new URL('..', import.meta.url);

const PATIENCE = 45_000;

// Why a request came to nothing, in a form that can be shown.
export class ApiProblem extends Error {
  // kind: 'unreachable' | 'key' | 'missing' | 'refused'
  constructor(kind, message, { status = 0, title, advice, body = {}, level, retryAfter } = {}) {
    super(message);
    Object.assign(this, { kind, status, title, advice, body, level, retryAfter });
  }
}

// Whether the last request was answered by the app. Views need not care: the frame shows it.
export const connection = Object.assign(new EventTarget(), { isUp: true, since: Date.now() });

function connected(isUp) {
  if (connection.isUp === isUp) return;
  Object.assign(connection, { isUp, since: Date.now() });
  connection.dispatchEvent(new Event('change'));
}

// Keys live as long as the tab, and go nowhere but into the header. What needs the master key gets it alone, and the
// rest gets the lesser one where there is one.
const slot = (level) => `lastlight.key.${level}`;
const kept = (level) => {
  try { return sessionStorage.getItem(slot(level)) ?? ''; } catch { return ''; }
};
export const keys = {
  // The frame shows whether there is one.
  onchange() {},
  has: (level) => (level === 'admin' ? kept('admin') : kept('function') || kept('admin')) !== '',
  keep(level, key) {
    try { sessionStorage.setItem(slot(level), key); } catch { /* it is asked for again */ }
    keys.onchange();
  },
  forget() {
    for (const level of ['function', 'admin']) {
      try { sessionStorage.removeItem(slot(level)); } catch { /* there is none */ }
    }
  },
};
const keyFor = (level) => (level === 'admin' ? kept('admin') || kept('function') : kept('function') || kept('admin'));

// GET unless there is a body or a method. `query` leaves out what is empty; `accept` are statuses that are answers, too;
// `hasData`: what people and tasks wrote is in the answer, and its numbers keep their digits.
export async function ask(path, { method, query = {}, json, text, signal, level = 'function', accept = [], hasData = false } = {}) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, value);
  }
  const body = text ?? (json === undefined ? undefined : JSON.stringify(json));
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const key = keyFor(level);
  if (key) headers['x-functions-key'] = key;
  const patience = AbortSignal.timeout(PATIENCE);
  const verb = method ?? (body === undefined ? 'GET' : 'POST');
  // Who only looks asks again, and says so. What was to be done is not repeated by itself.
  const unknown = verb === 'GET' ? undefined : 'It may have been done or not: see how things stand, and ask again if need be.';
  let response, answered;
  try {
    response = await fetch(url, {
      method: verb,
      headers, body, cache: 'no-store', credentials: 'omit',
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    answered = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    connected(false);
    throw new ApiProblem('unreachable', patience.aborted
      ? `There was no answer within ${PATIENCE / 1000} seconds.`
      : 'The app cannot be reached.', { advice: unknown });
  }
  const parsed = parse(answered, hasData);
  // A gateway's words are not the app's: the host is there, the app is not.
  const isGateway = parsed === undefined && [502, 503, 504].includes(response.status);
  connected(!isGateway);
  if (response.ok && parsed !== undefined) return parsed;
  if (accept.includes(response.status) && parsed !== undefined) return parsed;
  throw problem(response, parsed, answered, { isGateway, unknown, level, path, hadKey: key !== '' });
}

function parse(text, hasData) {
  try { return hasData ? exactly(text) : JSON.parse(text); } catch { return undefined; }
}

function problem(response, parsed, answered, { isGateway, unknown, level, path, hadKey }) {
  const { status } = response;
  const body = parsed !== null && typeof parsed === 'object' ? parsed : {};
  const message = body.message ?? (answered.slice(0, 300).trim() || `HTTP ${status}`);
  const seconds = Number(response.headers.get('retry-after'));
  const facts = { status, body, level, title: body.error, retryAfter: seconds > 0 ? seconds * 1000 : undefined };
  if (isGateway) {
    return new ApiProblem('unreachable', 'The Functions host answers, the app behind it does not.', {
      ...facts, advice: unknown ?? 'It may be starting.',
    });
  }
  if (status === 401 || status === 403) {
    return new ApiProblem('key', hadKey ? 'The key was refused.' : 'The app asks for a key.', facts);
  }
  if (status === 404 && (body.error === undefined || body.error === 'not found')) {
    return new ApiProblem('missing', `This app has no ${path.split('?')[0]}.`, {
      ...facts, advice: 'Its version is older than this page, or the function is disabled.',
    });
  }
  return new ApiProblem('refused', message, { ...facts, advice: advice(status, body) });
}

function advice(status, body) {
  if (status === 503) return 'Nothing was lost. It is safe to ask again; Health says what is away.';
  if (status >= 500) return body.request_id ? `The app’s log has the reason under ${body.request_id}.` : 'The app’s log has the reason.';
  if (status === 409) return 'Somebody or something changed it meanwhile; what is shown now is how it stands.';
  if (status === 404 && body.error === 'unknown job') return 'It may have been in another database or schema.';
  return undefined;
}
