// Charts of two series, drawn as SVG from plain numbers. Each has a text alternative, and the table of metrics below the
// charts has the same data for users of screen readers.

import { h, s } from './dom.js';
import * as format from './format.js';

const LABEL = 112;
const VALUE = 92;
const STEP = 30;

// One horizontal bar per series: [{ name, series, value, shown }]. A null value is shown as "no data". On a narrow screen
// the bars shrink and the text keeps its size.
export function bars({ title, note, rows }) {
  const largest = Math.max(...rows.map(({ value }) => value ?? 0), 0);
  const wide = (rect, share) => {
    rect.style.setProperty('width', `calc((100% - ${LABEL + VALUE}px) * ${share.toFixed(4)})`);
    return rect;
  };
  const marks = rows.map(({ name, series, value, shown }, index) => {
    const y = index * STEP;
    const place = { x: LABEL, y: y + 5, height: 16, rx: 3 };
    return s('g', {},
      s('text', { x: 0, y: y + 18, class: 'chart-label' }, name),
      wide(s('rect', { ...place, class: 'chart-track' }), 1),
      value === null || largest === 0 ? null : wide(s('rect', { ...place, class: `series-${series}` }), Math.max(0.004, value / largest)),
      s('text', { x: '100%', y: y + 18, 'text-anchor': 'end', class: value === null ? 'chart-label' : 'chart-value' }, value === null ? 'no data' : shown));
  });
  return figure(title, note, rows.map(({ name, value, shown }) => `${name}: ${value === null ? 'no data' : shown}`).join('; '),
    s('svg', { height: rows.length * STEP, role: 'img' }, marks));
}

// p50, p95 and p99 as points on a logarithmic scale: [{ name, lines: [{ series, p50, p95, p99 }] }]. Milliseconds.
export function percentiles({ title, note, groups }) {
  const values = groups.flatMap(({ lines }) => lines.flatMap(({ p50, p95, p99 }) => [p50, p95, p99])).filter((value) => value > 0);
  if (values.length === 0) return figure(title, note, 'No data.', h('p', { class: 'chart-empty' }, 'No latencies were recorded in this period.'));
  const width = 1080, left = 128, right = 72, line = 22, gap = 20, top = 22;
  const low = Math.floor(Math.log10(Math.min(...values)) * 2) / 2;
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)) * 2) / 2);
  const x = (value) => left + ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (width - left - right);
  const height = top + groups.reduce((sum, { lines }) => sum + lines.length * line + gap, 0);
  const ticks = [];
  for (let power = Math.ceil(low); power <= Math.floor(high); power += 1) ticks.push(10 ** power);
  const axis = ticks.map((value) => s('g', {},
    s('line', { x1: x(value), x2: x(value), y1: top - 4, y2: height - 6, class: 'chart-grid' }),
    s('text', { x: x(value), y: 11, class: 'chart-tick', 'text-anchor': 'middle' }, format.milliseconds(value))));
  let y = top;
  const drawn = groups.map(({ name, lines }) => {
    const from = y + 4;
    const marks = lines.map(({ series, p50, p95, p99, samples }, index) => {
      const at = from + index * line + 11;
      if (!(p50 > 0)) return s('text', { x: left, y: at + 4, class: 'chart-label' }, 'no data');
      return s('g', { class: `series-${series}` },
        s('title', {}, `p50 ${format.milliseconds(p50)}, p95 ${format.milliseconds(p95)}, p99 ${format.milliseconds(p99)}; ${format.count(samples)} samples`),
        s('line', { x1: x(p50), x2: x(p99), y1: at, y2: at, class: 'chart-span' }),
        s('circle', { cx: x(p50), cy: at, r: 5.5 }),
        s('path', { d: `M${x(p95)} ${at - 6}l6 6-6 6-6-6z` }),
        s('path', { d: `M${x(p99) - 1.5} ${at - 7}h3v14h-3z` }),
        s('text', { x: Math.min(x(p99) + 10, width - right + 6), y: at + 4, class: 'chart-value small' }, format.milliseconds(p99)));
    });
    y += lines.length * line + gap;
    return s('g', {}, s('text', { x: 0, y: from + (lines.length * line) / 2 + 4, class: 'chart-label' }, name), marks);
  });
  const words = groups.map(({ name, lines }) => `${name}: ${lines.map(({ label, p50, p95, p99 }) =>
    `${label} p50 ${format.milliseconds(p50)}, p95 ${format.milliseconds(p95)}, p99 ${format.milliseconds(p99)}`).join('; ')}`).join('. ');
  const node = figure(title, note, words,
    s('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'chart-wide' }, axis, drawn));
  // Wider than a phone: it scrolls horizontally, also by keyboard.
  const drawing = node.querySelector('svg');
  const frame = h('div', { class: 'chart-scroll', tabindex: 0, role: 'group', 'aria-label': title });
  drawing.replaceWith(frame);
  frame.append(drawing);
  node.append(h('p', { class: 'legend small muted', 'aria-hidden': 'true' },
    key((g) => g.append(s('circle', { cx: 8, cy: 8, r: 5 }))), 'p50',
    key((g) => g.append(s('path', { d: 'M8 2l6 6-6 6-6-6z' }))), 'p95',
    key((g) => g.append(s('path', { d: 'M6.5 1h3v14h-3z' }))), 'p99'));
  return node;
}

function key(draw) {
  const drawing = s('svg', { viewBox: '0 0 16 16', class: 'legend-mark' });
  draw(drawing);
  return drawing;
}

// A small line chart of the last values; null is a gap.
export function sparkline(values, label) {
  const width = 120, height = 24;
  const known = values.filter((value) => value !== null);
  const largest = Math.max(...known, 1);
  let path = '', isDown = false;
  values.forEach((value, index) => {
    if (value === null) { isDown = false; return; }
    const x = values.length > 1 ? (index / (values.length - 1)) * (width - 2) + 1 : width / 2;
    const y = height - 2 - (value / largest) * (height - 4);
    path += `${isDown ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    isDown = true;
  });
  return s('svg', { viewBox: `0 0 ${width} ${height}`, class: 'sparkline', role: 'img', 'aria-label': label }, s('path', { d: path || 'M0 0' }));
}

function figure(title, note, words, drawing) {
  drawing.setAttribute('aria-label', `${title}. ${words}`);
  return h('figure', { class: 'chart' }, h('figcaption', {}, h('strong', {}, title), note ? h('span', { class: 'muted small' }, note) : null), drawing);
}
