// Asks again and again, gently: never twice at once, never while the tab is hidden, slower while there is no answer.

const SLOWEST = 15_000;

// `task(signal)` may give the milliseconds until the next time; otherwise `every`. What it throws goes to `failed`, and
// stops nothing. `now()` asks at once.
export function poll(task, { every, signal, failed = () => {} }) {
  let timer, failures = 0, isBusy = false, isWanted = false, round = new AbortController();

  async function run() {
    clearTimeout(timer);
    if (signal.aborted || document.hidden) return;
    if (isBusy) {
      isWanted = true;
      return;
    }
    isBusy = true;
    round = new AbortController();
    let wait = every;
    try {
      wait = (await task(AbortSignal.any([signal, round.signal]))) ?? every;
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!round.signal.aborted) {
        failures += 1;
        // Without a key the same question gets the same answer.
        wait = error.kind === 'key' ? Infinity : (error.retryAfter ?? Math.min(SLOWEST, 1000 * 2 ** failures));
        failed(error);
      }
    } finally {
      isBusy = false;
    }
    if (isWanted) {
      isWanted = false;
      run();
    } else if (wait !== Infinity) timer = setTimeout(run, wait);
  }

  document.addEventListener('visibilitychange', () => (document.hidden ? round.abort() : run()), { signal });
  addEventListener('online', run, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  run();
  return {
    // A request under way is given up: what it would say may be older than what the caller has just done.
    now() {
      round.abort();
      return run();
    },
  };
}
