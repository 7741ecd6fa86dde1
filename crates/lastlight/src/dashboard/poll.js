// Asks again and again, gently: never twice at once, never while the tab is hidden, slower while there is no answer.

const SLOWEST = 15_000;

// `task(signal, isAskedFor)` may give the milliseconds until the next time; otherwise `every`. What it throws goes to
// `failed`, and stops nothing. `now()` asks at once, which `isAskedFor` says, and ends when that was answered or has failed.
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
        // Without a key the same question gets the same answer.
        wait = error.kind === 'key' ? Infinity : (error.retryAfter ?? Math.min(SLOWEST, 1000 * 2 ** failures));
        if (error.kind === 'unreachable') error.advice = [error.advice, 'It is tried again by itself.'].filter(Boolean).join(' ');
        failed(error);
      }
    } finally {
      isBusy = false;
      // A round that was given up is no answer; the next one is.
      if (round.signal.aborted && !signal.aborted) waiting.unshift(...asking);
      else for (const tell of asking) tell();
    }
    if (isWanted) {
      isWanted = false;
      run();
    } else if (wait !== Infinity && !signal.aborted) timer = setTimeout(run, wait);
  }

  // A request under way is given up: what it would say may be older than what the caller has just done, and one that was
  // sent before the network changed may never be answered.
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
