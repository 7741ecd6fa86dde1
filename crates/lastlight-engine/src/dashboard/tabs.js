// Tabs as in the ARIA Authoring Practices: one tab stop, arrow keys move between them.

import { h, newId, setAttribute } from './dom.js';

// tabs: [[name, label]]; panels: the content of each by name; `changed(name)` is called when another tab is opened.
export function tabPanels({ label: what, tabs, panels, opened, changed }) {
  const prefix = newId('tab');
  const buttons = new Map(), frames = new Map(), withheld = new Set();
  for (const [name, label] of tabs) {
    buttons.set(name, h('button', {
      type: 'button', role: 'tab', id: `${prefix}-${name}`, 'aria-controls': `${prefix}-${name}-panel`, onclick: () => open(name),
    }, label));
    frames.set(name, h('div', { role: 'tabpanel', id: `${prefix}-${name}-panel`, 'aria-labelledby': `${prefix}-${name}` }, panels[name]));
  }
  const offered = () => [...buttons.keys()].filter((name) => !withheld.has(name));
  const strip = h('div', {
    role: 'tablist', 'aria-label': what, class: 'tabs',
    onkeydown(event) {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const names = offered();
      const at = names.findIndex((name) => buttons.get(name) === document.activeElement);
      open(names[(at + by + names.length) % names.length]);
      buttons.get(now).focus();
    },
  }, [...buttons.values()]);
  let now = opened;
  function draw() {
    for (const name of buttons.keys()) {
      buttons.get(name).hidden = withheld.has(name);
      setAttribute(buttons.get(name), 'aria-selected', name === now);
      setAttribute(buttons.get(name), 'tabindex', name === now ? 0 : -1);
      frames.get(name).hidden = name !== now;
    }
  }
  function open(name) {
    if (name === now) return;
    now = name;
    draw();
    changed(name);
  }
  draw();
  return {
    node: h('section', { class: 'tabbed' }, strip, [...frames.values()]),
    open,
    // Shows or hides a tab. If the open tab is hidden, the first one is opened.
    offer(name, isOffered) {
      if (isOffered !== withheld.has(name)) return;
      if (isOffered) withheld.delete(name);
      else withheld.add(name);
      draw();
      if (now === name && !isOffered) open(offered()[0]);
    },
  };
}
