// Formats numbers, times and names for display. Exact values go into titles.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const coarse = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });
const fine = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const NOTHING = '—';

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

export const count = (value) => (isNumber(value) ? whole.format(value) : NOTHING);

// Three significant digits are enough for a measurement.
export const measure = (value) =>
  !isNumber(value) ? NOTHING : Math.abs(value) >= 1000 ? whole.format(value) : fine.format(value);

export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export const share = (part, all) => {
  if (!(all > 0)) return 0;
  return Math.min(1, Math.max(0, part / all));
};

// Never "100%" for a fraction below 1, never "0%" for a fraction above 0.
export function percent(fraction) {
  if (!isNumber(fraction)) return NOTHING;
  const points = fraction * 100;
  if (points > 99.5 && points < 100) return '99%';
  if (points > 0 && points < 1) return `${fine.format(points)}%`;
  return `${whole.format(points)}%`;
}

export function milliseconds(ms) {
  if (!isNumber(ms)) return NOTHING;
  if (ms < 10) return `${coarse.format(ms)} ms`;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  if (ms < 60_000) return `${fine.format(ms / 1000)} s`;
  return duration(ms);
}

const pad = (value) => String(value).padStart(2, '0');

export function duration(ms) {
  if (!isNumber(ms) || ms < 0) return NOTHING;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${pad(Math.floor(seconds % 60))} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${pad(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// A duration that changes every second, without tenths.
export const running = (ms) => (ms >= 0 && ms < 60_000 ? `${Math.floor(ms / 1000)} s` : duration(ms));

export const time = (text) => {
  const value = typeof text === 'string' ? Date.parse(text) : NaN;
  return Number.isNaN(value) ? null : value;
};

// Two units, rounded, so that 167 hours left are not read as 6 days.
function until(seconds) {
  const two = (first, one, second, other) => [[first, one], [second, other]]
    .filter(([number]) => number > 0).map((part) => part.join(' ')).join(' ');
  const minutes = Math.round(seconds / 60), hours = Math.round(seconds / 3600);
  if (seconds < 60) return `${seconds} s`;
  if (minutes < 24 * 60) return two(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  return two(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

export function ago(then, now = Date.now()) {
  const seconds = Math.round((now - then) / 1000);
  if (Math.abs(seconds) < 5) return 'just now';
  if (seconds < 0) return `in ${until(-seconds)}`;
  return `${running(seconds * 1000).replace(/^(\d+ (?:min|h|d)) .*$/, '$1')} ago`;
}

const clock = new Intl.DateTimeFormat('en-GB', {
  year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit',
});
export const exactly = (then) => clock.format(then);

const short = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
export const ofDay = (then) => short.format(then);

export const shortId = (id) => (typeof id === 'string' && id.length > 16 ? id.slice(0, 8) : String(id ?? ''));

export const path = (name) =>
  ({ queue_storage: 'Storage Queue', service_bus: 'Service Bus', worker: 'Workers' })[name] ?? String(name ?? NOTHING);

export const bytes = (size) =>
  size < 1024 ? `${size} bytes` : size < 1024 * 1024 ? `${fine.format(size / 1024)} KB` : `${fine.format(size / 1024 / 1024)} MB`;

// The colour and the label of each status.
const STATUSES = {
  queued: ['idle', 'Queued'],
  pending_queue: ['idle', 'Pending'],
  processing: ['run', 'Processing'],
  retrying: ['warn', 'Retrying'],
  paused: ['warn', 'Paused'],
  completed: ['ok', 'Completed'],
  failed: ['bad', 'Failed'],
  cancelled: ['off', 'Cancelled'],
  skipped: ['off', 'Skipped'],
};
export const status = (name) => {
  const [tone, label] = STATUSES[name] ?? ['idle', String(name ?? 'unknown')];
  return { tone, label };
};

export const isOver = (name) => ['completed', 'failed', 'cancelled'].includes(name);
