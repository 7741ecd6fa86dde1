"""An attempt at a task while this worker has it, and how attempts that are ended end.

It belongs to the worker's process; it knows neither the app nor how handlers are run.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable

from lastlight._context import TaskContext
from lastlight._handlers import Handler
from lastlight._limits import human
from lastlight._log_tail import LogTail
from lastlight._protocol import Claimed, Ended

# Seconds within which a process must be ready to run its first handler.
LONGEST_START = 300.0


class Ending(enum.Enum):
    """Why a worker ends an attempt."""

    CANCELLED = "its job was cancelled"
    LOST = "the app gave its task to another attempt"
    TIMED_OUT = "it ran longer than its timeout"
    OUT_OF_MEMORY = "it used more memory than its limit"
    RELEASED = "the worker stops"

    @property
    def is_dropped(self) -> bool:
        """Whether no outcome is told, since none would count."""
        return self in (Ending.CANCELLED, Ending.LOST)


class Attempt:
    """An attempt that runs, or waits for its process or thread."""

    __slots__ = (
        "began",
        "cancel",
        "created",
        "ending",
        "handler",
        "key",
        "over",
        "report",
        "tail",
        "task",
        "timeout",
        "told_report",
        "told_tail_at",
        "told_written",
        "used",
    )

    def __init__(self, task: Claimed, handler: Handler) -> None:
        self.task = task
        self.handler = handler
        self.key = task.key
        self.tail = LogTail()
        limits = [one for one in (task.timeout_seconds, handler.timeout) if one is not None]
        self.timeout: float | None = min(limits) if limits else None
        """Seconds."""
        self.created = time.monotonic()
        self.began: float | None = None
        """When the handler was called, by `time.monotonic`."""
        self.ending: Ending | None = None
        self.over = False
        """Whether its outcome is decided: what its handler does from now on changes nothing."""
        self.used = 0
        """The memory in bytes that made it end."""
        self.cancel: Callable[[], None] | None = None
        """Stops a handler in a thread, as far as that is possible."""
        self.report: tuple[float | None, str | None] = (None, None)
        self.told_report: tuple[float | None, str | None] = (None, None)
        self.told_tail_at = self.created
        self.told_written = 0

    def context(self) -> TaskContext:
        """Return the context for a handler that begins now in this process."""
        self.began = time.monotonic()
        context = TaskContext(self.task, self.timeout, self.tell)
        context._cancelled = self.ending is not None
        return context

    def tell(self, fraction: float | None, message: str | None) -> None:
        """Take over what the handler tells of its progress."""
        before = self.report
        self.report = (
            before[0] if fraction is None else fraction,
            before[1] if message is None else message,
        )

    def is_late(self, now: float) -> bool:
        """Whether its time is over."""
        if self.began is None:
            return self.handler.isolation == "process" and now > self.created + LONGEST_START
        return self.timeout is not None and now > self.began + self.timeout

    def outcome(self) -> Ended | None:
        """Return the outcome of an attempt that was ended; None if none is told."""
        ending = self.ending
        if ending is None or ending.is_dropped:
            return None
        if ending is Ending.RELEASED:
            return Ended("released", error="the worker was stopped")
        if ending is Ending.OUT_OF_MEMORY:
            limit = human(self.handler.memory_limit or 0)
            error = f"out of memory: the handler used {human(self.used)}, and its limit is {limit}"
            return Ended("failed", error=error, error_type="MemoryError")
        if self.began is None:
            error = f"the handler's process was not ready within {LONGEST_START:g} seconds"
        else:
            error = f"the handler ran longer than its timeout of {self.timeout:g} seconds"
        return Ended("failed", error=error, error_type="TimeoutError")
