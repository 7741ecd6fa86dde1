"""What a handler may know of its task and tell of its progress.

It knows neither the app nor where the handler runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from lastlight._failure import clean
from lastlight._protocol import Claimed

_LONGEST_MESSAGE = 500


class TaskContext:
    """The second argument of a handler: what is known of its task, and how to tell of progress."""

    __slots__ = ("_cancelled", "_task", "_tell", "_until")

    def __init__(
        self,
        task: Claimed,
        timeout: float | None,
        tell: Callable[[float | None, str | None], None],
    ) -> None:
        self._task = task
        self._until = None if timeout is None else time.monotonic() + timeout
        self._tell = tell
        self._cancelled = False

    def __repr__(self) -> str:
        return f"TaskContext({self._task}, attempt {self.attempt})"

    @property
    def job_id(self) -> str:
        """The id of the task's job."""
        return self._task.job_id

    @property
    def stage(self) -> int:
        """The number of the task's stage, from 1."""
        return self._task.stage

    @property
    def task_id(self) -> str:
        """The id of the task, unique within its stage."""
        return self._task.task_id

    @property
    def node(self) -> str:
        """The name of the workflow's node."""
        return self._task.node

    @property
    def handler(self) -> str:
        """The name under which the handler was registered."""
        return self._task.handler

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._task.attempt

    @property
    def predecessor_result(self) -> Any:
        """The result of the task's predecessor; None if it has none."""
        return self._task.predecessor_result

    @property
    def remaining(self) -> float | None:
        """Seconds until this attempt's timeout, not less than 0; None without a timeout."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the attempt's outcome will not count any more: return soon.

        It becomes true when the job is cancelled, when the app gave the task to another worker, at
        the timeout, and when the worker stops and its grace is over. Seconds later the process of
        the handler is ended; a thread cannot be ended, so a handler in a thread must look.
        """
        return self._cancelled

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell how far the attempt is. It may be called often: the last call counts.

        Args:
            fraction: The part that is done. Below 0 it counts as 0, above 1 as 1, NaN as unknown.
            message: What it does now; cut at 500 characters.
        """
        part = None
        if fraction is not None and not math.isnan(fraction):
            part = min(1.0, max(0.0, float(fraction)))
        said = None if message is None else clean(str(message)[:_LONGEST_MESSAGE])
        self._tell(part, said)
