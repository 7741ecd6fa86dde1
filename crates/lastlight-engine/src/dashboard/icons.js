// Icons, drawn with strokes on a grid of 16. They are decoration only: there is always text next to them or in a label.

import { s } from './dom.js';

const PATHS = {
  jobs: 'M2.5 4h11M2.5 8h11M2.5 12h7',
  submit: 'M8 3v10M3 8h10',
  less: 'M3 8h10',
  accept: 'M3 8.5l3.5 3.5L13 4.5',
  compare: 'M3 13V8M6.5 13V3M10 13V6M13.5 13v-3',
  poison: 'M8 2.5 14 13H2L8 2.5ZM8 6.5v3M8 11.4v.1',
  workers: 'M2.5 3h11v7h-11zM6 13h4M8 10v3M5 6.5h.1M8 6.5h.1M11 6.5h.1',
  schedules: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM8 4.5V8l2.5 2',
  run: 'M4 3v10M7 3.5v9l6-4.5-6-4.5Z',
  health: 'M1.5 8.5h3l2-5 3 9 2-4h3',
  more: 'M4 6l4 4 4-4',
  next: 'M6 4l4 4-4 4',
  previous: 'M10 4 6 8l4 4',
  copy: 'M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z',
  light: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M12.6 3.4l-.7.7M4.1 11.9l-.7.7',
  dark: 'M13 9.8A5.5 5.5 0 0 1 6.2 3 5.5 5.5 0 1 0 13 9.8Z',
  help: 'M6 6a2 2 0 1 1 2.8 1.8c-.5.3-.8.7-.8 1.2v.3M8 11.6v.1M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8Z',
  pause: 'M6 4v8M10 4v8',
  resume: 'M5 3.5v9l7-4.5-7-4.5Z',
  cancel: 'M4 4l8 8M12 4l-8 8',
  retry: 'M13 8a5 5 0 1 1-1.6-3.7M13 2.5V5h-2.5',
  skip: 'M4 3.5v9l6-4.5-6-4.5ZM12 3.5v9',
  resubmit: 'M3 3.5v9l5-4.5-5-4.5ZM9 3.5v9l5-4.5-5-4.5Z',
  look: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8ZM8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6Z',
  key: 'M9.5 9.5a3.5 3.5 0 1 0-3-3L2 11v3h3v-2h2v-2l.5-.5ZM11 5v.1',
};

export const icon = (name) =>
  s('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false' }, s('path', { d: PATHS[name] }));
