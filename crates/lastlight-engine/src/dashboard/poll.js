// Polling: one request at a time, none while the tab is hidden, and exponential backoff after failures.

const SLOWEST = 15_000;

// `task(signal, isAskedFor)` may return the milliseconds until the next round; the default is `every`. An error that it
// throws is passed to `failed`, and polling continues. `now()` starts a round at once, with `isAskedFor` set, and resolves
// when that round has succeeded or failed.
export function poll(task, { every, signal, failed = () => {} }) {
  let timer, failures = 0, isBusy = false, isWanted = false, isAskedFor = false, round = new AbortController(), waiting = [];

  async function run() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden) return;
    if (isBusy) {
      isWanted = true;
      return;
    }
    isBusy = true;
    round = new AbortController();
    const [asking, isPressing] = [waiting, isAskedFor];
    [waiting, isAskedFor] = [[], false];
    let wait = every;
    try {
      wait = (await task(AbortSignal.any([signal, round.signal]), isPressing)) ?? every;
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      isAskedFor ||= isPressing;
      if (!round.signal.aborted) {
        failures += 1;
        // Without a key the same request gets the same response.
        wait = error.kind === 'key' ? Infinity : (error.retryAfter ?? Math.min(SLOWEST, 1000 * 2 ** failures));
        if (error.kind === 'unreachable') error.advice = [error.advice, 'It is retried automatically.'].filter(Boolean).join(' ');
        failed(error);
      }
    } finally {
      isBusy = false;
      // An aborted round resolves no caller of `now()`; the next round does.
      if (round.signal.aborted && !signal.aborted) waiting.unshift(...asking);
      else for (const tell of asking) tell();
    }
    if (isWanted) {
      isWanted = false;
      run();
    } else if (wait !== Infinity && !signal.aborted) timer = setTimeout(run, wait);
  }

  // Abort the request in flight: its response may be older than the caller's last action, and a request sent before a
  // change of network may never be answered.
  async function now() {
    if (signal.aborted) return;
    round.abort();
    isAskedFor = true;
    const answered = new Promise((tell) => waiting.push(tell));
    run();
    await answered;
  }

  document.addEventListener('visibilitychange', () => (document.hidden ? round.abort() : now()), { signal });
  addEventListener('online', now, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  run();
  return { now };
}
