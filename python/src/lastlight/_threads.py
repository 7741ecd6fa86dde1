"""Threads for short handlers, and the event loop for async ones.

Few threads run many handlers: each takes one attempt after the other, and outcomes that are ready
at the same moment reach the event loop together. More threads begin when attempts wait, as they do
when handlers block. It knows attempts, and nothing of the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable

from lastlight._attempt import Attempt, Ending
from lastlight._context import TaskContext
from lastlight._execute import execute, execute_async
from lastlight._failure import describe
from lastlight._log_tail import current_tail
from lastlight._protocol import Ended

# Seconds for which attempts wait before more threads begin.
_WAIT = 0.005


class Threads:
    """Threads that run attempts, at most as many as attempts may run at once.

    Args:
        most: The most threads.
        ended: Called in the event loop with attempts and how they ended; None if the attempt was
            over before.
    """

    def __init__(
        self, most: int, ended: Callable[[list[tuple[Attempt, Ended | None]]], None]
    ) -> None:
        self._most = most
        self._tell = ended
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._waiting: deque[Attempt] = deque()
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._growing = False
        self._done: deque[tuple[Attempt, Ended | None]] = deque()
        self._is_told = False
        self._coroutines: set[asyncio.Task[None]] = set()

    def add(self, attempts: list[Attempt]) -> None:
        """Run attempts, when a thread is free."""
        plain = [attempt for attempt in attempts if not attempt.handler.is_async]
        for attempt in attempts:
            if attempt.handler.is_async:
                task = self._loop.create_task(self._run_async(attempt))
                self._coroutines.add(task)
                task.add_done_callback(self._coroutines.discard)
        if plain:
            with self._lock:
                self._waiting.extend(plain)
                self._wake(1)
            self._grow_later(1)

    def end(self, attempt: Attempt, ending: Ending) -> Ended | None:
        """Give up an attempt; return the outcome to tell.

        A thread cannot be ended: the handler learns that it is cancelled, and what it returns is
        dropped.
        """
        attempt.ending = ending
        outcome = attempt.outcome()
        attempt.over = True
        if attempt.cancel is not None:
            attempt.cancel()
        if outcome is not None:
            outcome.log_tail = attempt.tail.text() or None
        return outcome

    def close(self) -> None:
        """Let the threads end that run nothing; the others end with this process."""
        with self._lock:
            self._closed = True
            self._has_work.notify_all()
        for task in self._coroutines:
            task.cancel()

    def _wake(self, count: int) -> None:
        woken = min(count, self._idle)
        self._has_work.notify(woken)
        for _ in range(min(count - woken, self._most - self._threads)):
            self._threads += 1
            threading.Thread(target=self._work, name="lastlight-handler", daemon=True).start()

    def _grow_later(self, count: int) -> None:
        if not self._growing:
            self._growing = True
            self._loop.call_later(_WAIT, self._grow, count)

    def _grow(self, count: int) -> None:
        self._growing = False
        with self._lock:
            if not self._waiting or self._closed:
                return
            self._wake(min(count, len(self._waiting)))
        self._grow_later(2 * count)

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    if self._closed:
                        return
                    self._idle += 1
                    self._has_work.wait()
                    self._idle -= 1
                attempt = self._waiting.popleft()
            ended = None if attempt.over else contextvars.copy_context().run(_run, attempt)
            self._done.append((attempt, ended))
            if not self._is_told:
                self._is_told = True
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Before the outcomes are taken: one that comes later calls again.
        self._is_told = False
        together = []
        while self._done:
            together.append(self._done.popleft())
        if together:
            self._tell(together)

    async def _run_async(self, attempt: Attempt) -> None:
        current_tail.set(attempt.tail)
        task = asyncio.current_task()
        context = attempt.context()

        def cancel() -> None:
            context._cancelled = True
            if task is not None:
                task.cancel()

        attempt.cancel = cancel
        ended: Ended | None = None
        try:
            if not attempt.over:
                ended, trace = await execute_async(attempt.handler, attempt.task, context)
                _finish(attempt, ended, trace)
        except asyncio.CancelledError as error:
            if not attempt.over:
                ended = Ended("failed", error=describe(error), error_type="CancelledError")
        self._tell([(attempt, ended)])


def _run(attempt: Attempt) -> Ended:
    current_tail.set(attempt.tail)
    context = attempt.context()
    attempt.cancel = _canceller(context)
    ended, trace = execute(attempt.handler, attempt.task, context)
    _finish(attempt, ended, trace)
    return ended


def _canceller(context: TaskContext) -> Callable[[], None]:
    def cancel() -> None:
        context._cancelled = True

    return cancel


def _finish(attempt: Attempt, ended: Ended, trace: str) -> None:
    if trace:
        attempt.tail.write(trace.encode())
    if attempt.tail.written:
        ended.log_tail = attempt.tail.text()
