// Maps the URL to a view: #/jobs/<id>?status=failed. Every view and its filters are part of the URL.

export function parse(hash) {
  const [path, search = ''] = hash.replace(/^#/, '').split('?');
  const parts = path.split('/').filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(search) };
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

export function link(parts, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') search.set(name, value);
  }
  const text = search.toString();
  return `#/${parts.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

// Changes the URL without rendering the view again: for filters, which the view has already applied.
export function note(parts, query) {
  history.replaceState(null, '', link(parts, query));
}

// Calls `show(route, signal)` for the URL, now and when it changes; the previous signal is aborted to end its view.
export function start(show) {
  let before = new AbortController();
  const go = () => {
    before.abort();
    before = new AbortController();
    show(parse(location.hash), before.signal);
  };
  addEventListener('hashchange', go);
  go();
  return { again: go };
}
