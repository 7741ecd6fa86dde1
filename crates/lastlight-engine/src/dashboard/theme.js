// Applies the colours that the user chose before the first paint. Not a module, since modules run after the first paint.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem('lastlight.theme'); } catch { /* storage is switched off: the system's colours */ }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
