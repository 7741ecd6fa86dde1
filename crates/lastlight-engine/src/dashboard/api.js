// The client of the app's HTTP API: one request function, one error type. It handles keys and the connection state.

import { exactly } from './exact.js';

// This file is <prefix>/dashboard/api.js: the API is next to that folder, whatever the route prefix is.
export const API = new URL('..', import.meta.url);

const PATIENCE = 45_000;

// Why a request failed, in a form that can be shown.
export class ApiProblem extends Error {
  // kind: 'unreachable' | 'key' | 'missing' | 'refused'
  constructor(kind, message, { status = 0, title, advice, body = {}, level, retryAfter } = {}) {
    super(message);
    Object.assign(this, { kind, status, title, advice, body, level, retryAfter });
  }
}

// Whether the app responded to the last request. main.js shows it, so that views need not.
export const connection = Object.assign(new EventTarget(), { isUp: true, since: Date.now() });

function connected(isUp) {
  if (connection.isUp === isUp) return;
  Object.assign(connection, { isUp, since: Date.now() });
  connection.dispatchEvent(new Event('change'));
}

// Keys are stored for the tab and sent only in the header. Admin requests get the master key; all others get the function
// key if there is one.
const slot = (level) => `lastlight.key.${level}`;
const kept = (level) => {
  try { return sessionStorage.getItem(slot(level)) ?? ''; } catch { return ''; }
};
export const keys = {
  // main.js shows whether there is a key.
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

// GET unless there is a body or a method. Empty values of `query` are omitted; `accept` lists error statuses whose bodies
// are returned; `hasData`: the response contains parameters or results, whose numbers keep all digits.
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
  // Reads are retried automatically; actions are not.
  const unknown = verb === 'GET' ? undefined : 'The action may or may not have been carried out: check the current state, and repeat it if needed.';
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
      ? `There was no response within ${PATIENCE / 1000} seconds.`
      : 'The app cannot be reached.', { advice: unknown });
  }
  const parsed = parse(answered, hasData);
  // A response of a gateway and not of the app: the host is available, the app is not.
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
    return new ApiProblem('unreachable', 'The Functions host responds, but the app behind it does not.', {
      ...facts, advice: unknown ?? 'The app may be starting.',
    });
  }
  if (status === 401 || status === 403) {
    return new ApiProblem('key', hadKey ? 'The key was rejected.' : 'The app requires a key.', facts);
  }
  if (status === 404 && (body.error === undefined || body.error === 'not found')) {
    return new ApiProblem('missing', `This app has no endpoint ${path.split('?')[0]}.`, {
      ...facts, advice: 'The app is older than this page, or the function is disabled.',
    });
  }
  return new ApiProblem('refused', message, { ...facts, advice: advice(status, body) });
}

function advice(status, body) {
  if (status === 503) return 'Nothing was lost, and it is safe to repeat the request. The Health page shows which component is unavailable.';
  if (status >= 500) return body.request_id ? `The reason is in the app’s log, with request id ${body.request_id}.` : 'The reason is in the app’s log.';
  if (status === 409) return 'It was changed in the meantime; this page now shows its current state.';
  if (status === 404 && body.error === 'unknown job') return 'It may be in another database or schema.';
  return undefined;
}
