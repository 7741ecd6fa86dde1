"""Tells the app how attempts ended: together where they are ready together, and until it answers.

It knows outcomes and the app, and nothing of how handlers run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lastlight._errors import LastlightError
from lastlight._failure import LONGEST_ERROR, clean, cut
from lastlight._link import Link, Pauses
from lastlight._protocol import (
    FINISH,
    MOST_FINISHED,
    Claimed,
    Ended,
    Key,
    NotDone,
    answers_of,
    finish_body,
)

_log = logging.getLogger("lastlight")

# The most characters of outcomes in a request, if there is more than one: the app reads 8 MiB.
_LARGEST_BODY = 2 * 1024 * 1024

# Requests at once, and the outcomes that a request beside another one waits for.
_MOST_FLIGHTS = 2
_WORTH_A_FLIGHT = 50

# Seconds after which an outcome does not wait for the answer to others.
_SLOW = 1.0

# Seconds for which a finish is repeated at least, whatever the lease.
_LEAST_PATIENCE = 30.0


@dataclass(slots=True)
class _Unsent:
    task: Claimed
    text: str
    is_complaint: bool = False
    """Whether it says that the app did not take the attempt's own outcome."""

    @property
    def key(self) -> Key:
        return self.task.key


class Finisher:
    """Outcomes on their way to the app.

    Args:
        link: The app.
        worker_id: This worker.
        settled: Called with what names an attempt, once its outcome is told or given up.
    """

    def __init__(self, link: Link, worker_id: str, settled: Callable[[Key], None]) -> None:
        self._link = link
        self._worker_id = worker_id
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._ready: deque[_Unsent] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._last_began = 0.0
        self._is_scheduled = False
        self._until: float | None = None

    @property
    def unsent(self) -> int:
        """Number of outcomes that the app has not confirmed."""
        return len(self._ready) + self._in_flight

    def add(self, task: Claimed, ended: Ended) -> None:
        """Tell the app how an attempt ended, soon."""
        self._ready.append(_Unsent(task, ended.as_json(task.key)))
        if not self._is_scheduled:
            self._is_scheduled = True
            # Not now: what becomes ready in this moment is sent together.
            self._loop.call_soon(self._pump)

    async def drain(self, seconds: float) -> None:
        """Wait until all is told, or the time is over; then give up the rest."""
        self._until = time.monotonic() + seconds
        while self._ready or self._flights:
            self._pump()
            left = self._until - time.monotonic()
            if left <= 0:
                break
            await asyncio.wait(self._flights, timeout=min(left, 0.5))
        for flight in list(self._flights):
            flight.cancel()
        if self.unsent:
            _log.error(
                "the app did not take %d outcomes in time: their tasks run again once their "
                "leases are over",
                self.unsent,
            )
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _pump(self) -> None:
        self._is_scheduled = False
        while self._ready and len(self._flights) < _MOST_FLIGHTS:
            waits = self._last_began + _SLOW - self._loop.time()
            if self._flights and len(self._ready) < _WORTH_A_FLIGHT and waits > 0:
                self._loop.call_later(waits + 0.01, self._pump)
                return
            batch = self._batch()
            self._in_flight += len(batch)
            self._last_began = self._loop.time()
            flight = self._loop.create_task(self._fly(batch))
            self._flights.add(flight)

    def _batch(self) -> list[_Unsent]:
        batch, size = [self._ready.popleft()], 0
        while self._ready and len(batch) < MOST_FINISHED:
            size += len(batch[-1].text)
            if size + len(self._ready[0].text) > _LARGEST_BODY:
                break
            batch.append(self._ready.popleft())
        return batch

    async def _fly(self, batch: list[_Unsent]) -> None:
        try:
            await self._send(batch)
        finally:
            self._in_flight -= len(batch)
            for one in batch:
                self._settled(one.key)
            task = asyncio.current_task()
            if task is not None:
                self._flights.discard(task)
            self._loop.call_soon(self._pump)

    async def _send(self, batch: list[_Unsent]) -> None:
        pauses = Pauses(longest=8.0)
        patience = max(_LEAST_PATIENCE, *(one.task.lease_seconds for one in batch))
        until = time.monotonic() + patience
        while True:
            body = finish_body(self._worker_id, [one.text for one in batch])
            document = await self._link.post(FINISH, body)
            if not isinstance(document, NotDone):
                try:
                    answers = answers_of(document, "outcomes")
                except LastlightError as error:
                    document = NotDone(error, again=True)
                else:
                    await self._read(batch, answers)
                    return
            status = getattr(document.error, "status", None)
            if status in (400, 413, 422):
                await self._refused(batch, str(document.error))
                return
            end = until if self._until is None else min(until, self._until)
            if time.monotonic() > end:
                _log.error(
                    "%d outcomes are given up, since the app did not take them for %.0f seconds; "
                    "the first is of %s: %s",
                    *(len(batch), patience, batch[0].task, document.error),
                )
                return
            _log.warning("outcomes are sent again: %s", document.error)
            await asyncio.sleep(pauses.next(document.seconds))

    async def _read(self, batch: list[_Unsent], answers: dict[Key, tuple[str, str]]) -> None:
        for one in batch:
            answer, error = answers.get(one.key, ("missing", ""))
            if answer == "invalid":
                await self._complain(one, error or "without a reason")
            elif answer == "superseded":
                _log.info("an outcome did not count, since its task went on without: %s", one.task)
            elif answer != "counted":
                _log.warning("the app answered an outcome of %s with %r", one.task, answer)

    async def _refused(self, batch: list[_Unsent], reason: str) -> None:
        if len(batch) == 1:
            await self._complain(batch[0], reason)
            return
        # One of them is the reason, and must not hold back the others.
        for one in batch:
            await self._send([one])

    async def _complain(self, one: _Unsent, reason: str) -> None:
        if one.is_complaint:
            _log.error("the app took no outcome of %s: %s", one.task, reason)
            return
        _log.warning("the app did not take the outcome of %s: %s", one.task, reason)
        error = cut(clean(f"the app did not take the attempt's outcome: {reason}"), LONGEST_ERROR)
        ended = Ended("failed", error=error, error_type="Permanent")
        await self._send([_Unsent(one.task, ended.as_json(one.key), is_complaint=True)])
