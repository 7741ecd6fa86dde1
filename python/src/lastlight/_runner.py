"""A worker at work: claims tasks for its free slots, runs them, and stops when it is told to.

It holds together what claims, runs, keeps and tells. A slot is taken from a claim until the handler
has ended, also when its outcome is decided before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from lastlight._attempt import Attempt, Ending
from lastlight._errors import LastlightError
from lastlight._finisher import Finisher
from lastlight._handlers import Handler
from lastlight._heartbeat import Heartbeat
from lastlight._link import Link, Pauses
from lastlight._pool import Pool
from lastlight._protocol import (
    CLAIM,
    MOST_CLAIMED,
    Claimed,
    Ended,
    Key,
    NotDone,
    claim_body,
    tasks_of,
)
from lastlight._threads import Threads

_log = logging.getLogger("lastlight")

# Seconds between looks at timeouts, memory and heartbeats, while attempts run.
_SWEEP = 0.1

# Seconds for which a claim waits for more slots than one.
_COLLECT = 0.005

# Unsent outcomes, as a multiple of the slots, with which no more tasks are claimed.
_MOST_UNSENT = 3

# Seconds to tell the last outcomes when the worker stops.
_LAST_OUTCOMES = 10.0

# Times in a row that processes could not start before the worker gives up.
_MOST_BROKEN = 5


class Runner:
    """One run of a worker.

    Args:
        link: The app.
        handlers: The handlers by name.
        queue: The queue from which tasks are claimed.
        worker_id: What names this worker in the app.
        concurrency: The number of slots.
        grace: Seconds that running attempts get when the worker is told to stop.
        setup: What processes for handlers must know.
        echo: Whether what handlers in processes print is printed by this process, too.
    """

    def __init__(
        self,
        link: Link,
        handlers: Mapping[str, Handler],
        queue: str,
        worker_id: str,
        concurrency: int,
        grace: float,
        setup: dict[str, Any],
        echo: bool,
    ) -> None:
        self._link = link
        self._handlers = handlers
        self._names = sorted(handlers)
        self._queue = queue
        self._worker_id = worker_id
        self._concurrency = concurrency
        self._grace = grace
        self._slots: dict[Key, Attempt] = {}
        self._leases: dict[Key, Attempt] = {}
        self._stops = 0
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._freed = asyncio.Event()
        self._busy = asyncio.Event()
        self._has_worked = False
        self._broken = 0
        self._failure: LastlightError | None = None
        self._not_before = 0.0
        self._finisher = Finisher(link, worker_id, self._settled)
        self._heartbeat = Heartbeat(link, worker_id, self._leases, self._end)
        self._pool = Pool(setup, echo, self._ended, self._cannot_start)
        self._threads = Threads(concurrency, self._ended_together)

    def stop(self) -> None:
        """Stop: the first time after a grace for what runs, the second time at once."""
        self._stops += 1
        if self._stops == 1:
            _log.info("stops: %d attempts have %g seconds", len(self._slots), self._grace)
            self._stopped.set()
        else:
            self._hurried.set()

    async def run(self) -> None:
        """Work until it is told to stop.

        Raises:
            LastlightError: It cannot work: the key or the address is wrong, or processes for
                handlers do not start.
        """
        sweeps = asyncio.create_task(self._sweeps())
        claims = asyncio.create_task(self._claims())
        try:
            await self._first(self._stopped.wait(), claims, sweeps)
            claims.cancel()
            await asyncio.gather(claims, return_exceptions=True)
            await self._let_end(sweeps)
            if self._hurried.is_set():
                await self._finisher.drain(_LAST_OUTCOMES / 2)
            else:
                await self._first(self._hurried.wait(), self._finisher.drain(_LAST_OUTCOMES))
            for task in (claims, sweeps):
                if task.done() and not task.cancelled():
                    task.result()
            if self._failure is not None:
                raise self._failure
        finally:
            for task in (claims, sweeps):
                task.cancel()
            await asyncio.gather(claims, sweeps, return_exceptions=True)
            self._heartbeat.close()
            self._threads.close()
            await self._pool.close()

    async def _first(self, *things: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> None:
        """Wait for one of them; the coroutines among them are given up with that."""
        own = [one for one in things if not isinstance(one, asyncio.Task)]
        tasks = [asyncio.ensure_future(one) for one in things]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        given_up = [task for task, thing in zip(tasks, things, strict=True) if thing in own]
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)

    async def _let_end(self, sweeps: asyncio.Task[None]) -> None:
        """Wait for the attempts that run; end and release those that do not end in time."""
        await self._first(self._until_idle(self._grace), self._hurried.wait(), sweeps)
        for attempt in list(self._slots.values()):
            self._end(attempt, Ending.RELEASED, at_once=self._hurried.is_set())
        await self._first(self._until_idle(None), self._hurried.wait(), sweeps)
        for attempt in self._in_processes():
            self._end(attempt, Ending.RELEASED, at_once=True)
        await self._first(self._until_idle(None), sweeps)

    def _in_processes(self) -> list[Attempt]:
        return [one for one in self._slots.values() if one.handler.isolation == "process"]

    async def _until_idle(self, grace: float | None) -> None:
        # Without a grace threads are not waited for, since they cannot be ended.
        until = None if grace is None else time.monotonic() + grace
        while self._slots if grace is not None else self._in_processes():
            if until is not None and time.monotonic() >= until:
                return
            await asyncio.sleep(0.02)

    async def _claims(self) -> None:
        pauses = Pauses(longest=15.0)
        while True:
            free = await self._room()
            began = time.monotonic()
            body = claim_body(self._worker_id, self._queue, self._names, free)
            document = await self._link.post(CLAIM, body)
            tasks: list[Claimed] = []
            if not isinstance(document, NotDone):
                try:
                    tasks = tasks_of(document)
                except LastlightError as error:
                    document = NotDone(error, again=False)
            if isinstance(document, NotDone):
                if not (document.again or self._has_worked):
                    raise document.error
                _log.warning("a claim is sent again: %s", document.error)
                await asyncio.sleep(pauses.next(document.seconds))
                continue
            if not self._has_worked:
                self._has_worked = True
                _log.info("the app at %s answers", self._link.url)
            pauses = Pauses(longest=15.0)
            if tasks:
                self._begin(tasks)
            elif time.monotonic() < began + 0.5:
                # The app did not wait, as one that is about to stop.
                await asyncio.sleep(pauses.next())

    async def _room(self) -> int:
        """Wait for free slots, and return their number; several if they become free together."""
        most = min(self._concurrency, MOST_CLAIMED)
        collected = False
        while True:
            free = min(self._concurrency - len(self._slots), MOST_CLAIMED)
            wait = self._not_before - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            elif free <= 0 or self._finisher.unsent > max(200, _MOST_UNSENT * self._concurrency):
                self._freed.clear()
                await self._freed.wait()
                collected = False
            elif collected or 2 * free >= most:
                return free
            else:
                await asyncio.sleep(_COLLECT)
                collected = True

    def _begin(self, tasks: list[Claimed]) -> None:
        in_threads = []
        for task in tasks:
            handler = self._handlers.get(task.handler)
            if handler is None or task.key in self._slots:
                _log.error("the app gave a task that was not asked for: %s", task)
                if handler is None:
                    self._finisher.add(task, Ended("released"))
                continue
            attempt = Attempt(task, handler)
            self._slots[attempt.key] = self._leases[attempt.key] = attempt
            if handler.isolation == "thread":
                in_threads.append(attempt)
            else:
                self._pool.run(attempt)
        if in_threads:
            self._threads.add(in_threads)
        self._busy.set()

    async def _sweeps(self) -> None:
        while True:
            if not self._leases and not self._slots:
                self._busy.clear()
                await self._busy.wait()
            now = time.monotonic()
            self._heartbeat.sweep(now)
            self._pool.sweep(now)
            for attempt in list(self._slots.values()):
                if attempt.ending is None and attempt.is_late(now):
                    self._end(attempt, Ending.TIMED_OUT)
            await asyncio.sleep(_SWEEP)

    def _end(self, attempt: Attempt, ending: Ending, at_once: bool = False) -> None:
        if attempt.over or attempt.key not in self._slots:
            return
        if attempt.ending is None:
            _log.info("ends %s, attempt %d: %s", attempt.task, attempt.task.attempt, ending.value)
        if attempt.handler.isolation == "process":
            self._pool.end(attempt, ending, at_once)
            if ending.is_dropped:
                self._leases.pop(attempt.key, None)
        else:
            self._tell(attempt, self._threads.end(attempt, ending))

    def _ended_together(self, attempts: list[tuple[Attempt, Ended | None]]) -> None:
        for attempt, ended in attempts:
            self._ended(attempt, ended)

    def _ended(self, attempt: Attempt, ended: Ended | None) -> None:
        """A handler has ended: its slot is free."""
        self._slots.pop(attempt.key, None)
        self._freed.set()
        if attempt.began is not None and attempt.handler.isolation == "process":
            self._broken = 0
        if not attempt.over:
            self._tell(attempt, ended)

    def _tell(self, attempt: Attempt, ended: Ended | None) -> None:
        """The outcome of an attempt is decided."""
        attempt.over = True
        if ended is None:
            self._settled(attempt.key)
            return
        if ended.kind == "failed":
            _log.info("%s, attempt %d, failed: %s", attempt.task, attempt.task.attempt, ended.error)
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s, attempt %d, %s", attempt.task, attempt.task.attempt, ended.kind)
        self._finisher.add(attempt.task, ended)

    def _settled(self, key: Key) -> None:
        """The app knows the outcome, or nobody will tell it: the lease is not needed any more."""
        self._leases.pop(key, None)
        self._freed.set()

    def _cannot_start(self, reason: str) -> None:
        if time.monotonic() < self._not_before:
            # Those that began together count once.
            return
        self._broken += 1
        self._not_before = time.monotonic() + 0.25 * 2**self._broken
        if self._broken >= _MOST_BROKEN and self._failure is None:
            self._failure = LastlightError(f"processes for handlers do not start: {reason}")
            self._stopped.set()
