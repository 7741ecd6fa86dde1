"""Keeps the leases of attempts, and hears from the app which of them are to end.

It knows attempts and the app, and nothing of how handlers run. Time is `time.monotonic`, so that
clocks that differ or are set change nothing; whether a lease is lost is decided by the app alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from lastlight._attempt import Attempt, Ending
from lastlight._errors import LastlightError
from lastlight._link import Link, Pauses
from lastlight._protocol import HEARTBEAT, MOST_BEATS, Key, NotDone, answers_of, heartbeat_body

_log = logging.getLogger("lastlight")

# Seconds between heartbeats at most; with shorter leases, three heartbeats per lease.
_LONGEST_INTERVAL = 10.0

# Seconds between two log tails of an attempt, and the bytes of tails in a request, about.
_TAIL_EVERY = 10.0
_MOST_TAILS = 1024 * 1024

_ENDINGS = {"cancelled": Ending.CANCELLED, "lost": Ending.LOST}


class Heartbeat:
    """The heartbeats of all attempts of a worker.

    Args:
        link: The app.
        worker_id: This worker.
        attempts: All attempts whose leases are to be kept.
        end: Called with an attempt that the app wants to end.
    """

    def __init__(
        self,
        link: Link,
        worker_id: str,
        attempts: Mapping[Key, Attempt],
        end: Callable[[Attempt, Ending], None],
    ) -> None:
        self._link = link
        self._worker_id = worker_id
        self._attempts = attempts
        self._end = end
        self._beat: asyncio.Task[None] | None = None
        self._last = time.monotonic()
        self._not_before = 0.0
        self._pauses = Pauses(longest=8.0)

    def sweep(self, now: float) -> None:
        """Send a heartbeat, if one is due and none is on its way."""
        if not self._attempts:
            self._last = now
            return
        if self._beat is not None:
            if not self._beat.done():
                return
            beat, self._beat = self._beat, None
            beat.result()
        lease = min(one.task.lease_seconds for one in self._attempts.values())
        due = self._last + min(_LONGEST_INTERVAL, lease / 3)
        if now >= max(due, self._not_before):
            self._beat = asyncio.get_running_loop().create_task(self._send(now))

    def close(self) -> None:
        """Give up a heartbeat that is on its way."""
        if self._beat is not None:
            self._beat.cancel()

    async def _send(self, now: float) -> None:
        # What is claimed while this is on its way has a fresh lease.
        attempts = list(self._attempts.values())
        for start in range(0, len(attempts), MOST_BEATS):
            part = attempts[start : start + MOST_BEATS]
            changes = self._changes(part, now)
            body = heartbeat_body(
                self._worker_id, zip([one.key for one in part], changes, strict=True)
            )
            document = await self._link.post(HEARTBEAT, body)
            if not isinstance(document, NotDone):
                try:
                    answers = answers_of(document, "tasks")
                except LastlightError as error:
                    document = NotDone(error, again=True)
            if isinstance(document, NotDone):
                _log.warning("a heartbeat is sent again: %s", document.error)
                self._not_before = time.monotonic() + self._pauses.next(document.seconds)
                return
            for one, change in zip(part, changes, strict=True):
                self._told(one, change, now)
                ending = _ENDINGS.get(answers.get(one.key, ("", ""))[0])
                if ending is not None and one.key in self._attempts:
                    self._end(one, ending)
        self._pauses = Pauses(longest=8.0)
        self._last = now

    def _changes(self, attempts: list[Attempt], now: float) -> list[dict[str, Any]]:
        changes: list[dict[str, Any]] = []
        tails = 0
        for one in attempts:
            change: dict[str, Any] = {}
            fraction, message = report = one.report
            if report != one.told_report:
                if fraction is not None:
                    change["progress"] = fraction
                if message is not None:
                    change["message"] = message
            written = one.tail.written
            if (
                written != one.told_written
                and now >= one.told_tail_at + _TAIL_EVERY
                and tails < _MOST_TAILS
            ):
                change["log_tail"] = one.tail.text()
                tails += len(change["log_tail"])
            changes.append(change)
        return changes

    def _told(self, attempt: Attempt, change: dict[str, Any], now: float) -> None:
        before = attempt.told_report
        attempt.told_report = (
            change.get("progress", before[0]),
            change.get("message", before[1]),
        )
        if "log_tail" in change:
            attempt.told_tail_at = now
            attempt.told_written = attempt.tail.written
