"""The errors of this package. Each says what went wrong and what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


class LastlightError(Exception):
    """The base of all errors of this package."""


class Refused(LastlightError):
    """The app refused a request: the request is wrong, or not allowed now.

    Attributes:
        status: The HTTP status, 400 to 499.
        problems: One mapping per field that is wrong, with `field`, `value` and `allowed`.
        answer: The whole answer.
    """

    def __init__(self, message: str, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer
        problems = answer.get("problems")
        self.problems: Sequence[Mapping[str, Any]] = problems if isinstance(problems, list) else []


class Unavailable(LastlightError):
    """The app did not answer, or could not, in several attempts. Nothing is lost: try again."""


class JobFailed(LastlightError):
    """The job failed or was cancelled, so it has no result.

    Attributes:
        job_id: The job's id.
        status: `failed` or `cancelled`.
        reason: Why, as the app says it.
    """

    def __init__(self, job_id: str, status: str, reason: str | None) -> None:
        super().__init__(f"job {job_id} {status}: {reason or 'without a reason'}")
        self.job_id = job_id
        self.status = status
        self.reason = reason


class StillRunning(LastlightError):
    """The job had not ended when the time to wait was over, or its result was asked for."""


class NotJson(LastlightError, ValueError):
    """A value cannot be written as JSON. The message names its place."""


class Retry(LastlightError):
    """Raised by a handler: this attempt failed, and another one is to be made.

    Args:
        reason: Why, for the people who read the task's error.
        after: Seconds until the next attempt; None leaves the pause to the job's retry policy.
            More than six days count as six days.

    Raises:
        ValueError: `after` is negative, infinite or NaN.
    """

    def __init__(self, reason: str = "", after: float | None = None) -> None:
        super().__init__(reason)
        if after is not None and not (math.isfinite(after) and after >= 0):
            raise ValueError(f"after must be a number of seconds, 0 or more: {after!r}")
        self.reason = reason
        self.after = after


class Permanent(LastlightError):
    """Raised by a handler: the task has failed for good, and no attempt would change that."""
