"""The processes for handlers: one per attempt that runs, kept for the next one.

It knows attempts and processes, and nothing of the app. All its methods are for the thread of the
event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from lastlight._attempt import Attempt, Ending
from lastlight._channel import PIPE_IS_CLOSED
from lastlight._limits import human, used_memory, why_it_ended
from lastlight._process import Process
from lastlight._protocol import Ended

_log = logging.getLogger("lastlight")

# Seconds in which a handler can notice that it was cancelled, before its process is ended.
_CANCEL_GRACE = 3.0

# Seconds between SIGTERM and SIGKILL.
_TERMINATE_GRACE = 3.0

# The part of its memory limit that a handler finds in use, above which it gets a new process.
_MOST_LEFT_BEHIND = 0.5


class Pool:
    """The processes.

    Args:
        setup: What each process must know.
        echo: Whether what they print is printed by this process, too.
        ended: Called with an attempt and how it ended; None if no outcome is to be told.
        broken: Called with the reason when a process could not be made ready.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        echo: bool,
        ended: Callable[[Attempt, Ended | None], None],
        broken: Callable[[str], None],
    ) -> None:
        self._setup = setup
        self._echo = echo
        self._tell = ended
        self._tell_broken = broken
        self._loop = asyncio.get_running_loop()
        self._idle: list[Process] = []
        self._busy: dict[int, Process] = {}

    def run(self, attempt: Attempt) -> None:
        """Run an attempt, in a process that waits or in a new one."""
        try:
            self._start(attempt)
        except OSError as error:
            self._tell_broken(str(error))
            self._tell(attempt, Ended("released", error=f"no process could be started: {error}"))

    def _start(self, attempt: Attempt) -> None:
        process = self._waiting(attempt)
        if process is None:
            process = Process(self._setup, self._echo, self._ended)
        self._busy[process.pid] = process
        process.terminate_at = process.kill_at = None
        process.run(attempt)

    def end(self, attempt: Attempt, ending: Ending, at_once: bool = False) -> None:
        """End an attempt: at first by asking its handler, in the end by force."""
        process = next((one for one in self._busy.values() if one.attempt is attempt), None)
        if process is None:
            return
        attempt.ending = attempt.ending or ending
        now = time.monotonic()
        if at_once or ending is Ending.OUT_OF_MEMORY:
            process.kill_at = now
        else:
            process.tell_cancelled()
            process.terminate_at = now + (_CANCEL_GRACE if ending.is_dropped else 0.0)
            process.kill_at = process.terminate_at + _TERMINATE_GRACE
        self._press(process, now)

    def sweep(self, now: float) -> None:
        """Look at memory, and at processes that have to end or have ended."""
        for process in list(self._busy.values()):
            attempt = process.attempt
            if attempt is None:
                continue
            limit = attempt.handler.memory_limit
            if limit is not None and attempt.ending is None and attempt.began is not None:
                used = used_memory(process.pid)
                if used is not None and used > limit:
                    attempt.used = used
                    self.end(attempt, Ending.OUT_OF_MEMORY)
            self._press(process, now)

    async def close(self) -> None:
        """End all processes."""
        for process in self._busy.values():
            process.kill()
        for process in self._idle:
            process.finish()
        everyone = [*self._idle, *self._busy.values()]
        until = time.monotonic() + 2.0
        while any(one.is_alive() for one in everyone) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        for process in everyone:
            process.kill()

    def _waiting(self, attempt: Attempt) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.is_alive() and not self._holds_much(process, attempt):
                return process
            process.finish()
        return None

    def _holds_much(self, process: Process, attempt: Attempt) -> bool:
        limit = attempt.handler.memory_limit
        if limit is None:
            return False
        return (used_memory(process.pid) or 0) > limit * _MOST_LEFT_BEHIND

    def _press(self, process: Process, now: float) -> None:
        if process.kill_at is not None and now >= process.kill_at:
            process.kill()
        elif process.terminate_at is not None and now >= process.terminate_at:
            process.terminate_at = None
            process.terminate()
        if process.is_alive():
            return
        # Processes that it started may hold its pipes open, and its messages would not end.
        if process.found_dead_at is None:
            process.found_dead_at = now
        elif now > process.found_dead_at + 1.0:
            process.kill()
        if now > process.found_dead_at + 5.0 and process.attempt is not None:
            self._settle(process, process.attempt, None, False)

    def _ended(self, process: Process, attempt: Attempt, ended: Ended | None, usable: bool) -> None:
        """Go on in the event loop's thread, unless the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, process, attempt, ended, usable)

    def _settle(
        self, process: Process, attempt: Attempt, ended: Ended | None, usable: bool
    ) -> None:
        if process.attempt is not attempt:
            return
        process.attempt = None
        del self._busy[process.pid]
        if usable and attempt.ending is None:
            self._idle.append(process)
        else:
            process.finish()
            process.kill()
        if ended is None and attempt.began is None and attempt.ending is None and process.runs > 1:
            # It ended while it waited, and the attempt has not begun.
            self.run(attempt)
            return
        if attempt.ending is not None:
            # What was completed while it was asked to end is complete.
            if attempt.ending.is_dropped or ended is None or ended.kind != "completed":
                ended = attempt.outcome()
        elif ended is None and attempt.began is None:
            reason = process.broken or why_it_ended(process.return_code)
            ended = Ended("released", error=f"the handler's process could not start: {reason}")
            self._tell_broken(reason)
            _log.error(
                "a process for handlers could not start: %s\n%s", reason, attempt.tail.text()
            )
        elif ended is None:
            ended = _of_death(process.return_code, attempt)
        if ended is not None and ended.log_tail is None:
            ended.log_tail = attempt.tail.text() or None
        self._tell(attempt, ended)


def _of_death(code: int, attempt: Attempt) -> Ended:
    """Say how an attempt ended whose process ended by itself."""
    reason = f"the handler's process ended with {why_it_ended(code)} before the handler returned"
    limit = attempt.handler.memory_limit
    if code == PIPE_IS_CLOSED:
        reason += "; it may have closed the pipes over which the worker reaches it"
    elif code == -9:
        reason += "; it was killed from outside, as systems do that run out of memory"
    elif code < 0 and limit is not None:
        reason += f"; its memory limit is {human(limit)}"
    return Ended("failed", error=reason, error_type="ProcessDied")
