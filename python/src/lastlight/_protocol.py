"""What a worker and the app say to each other: tasks, outcomes, and the bodies of requests.

It neither sends nor runs anything, and knows no processes, threads or clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lastlight._errors import LastlightError, Refused

CLAIM = "/api/workers/claim"
HEARTBEAT = "/api/workers/heartbeat"
FINISH = "/api/workers/finish"

#: Seconds for which the app may hold back the answer to a claim until there is a task.
CLAIM_WAIT = 20

#: The most tasks in a claim, outcomes in a finish, and tasks in a heartbeat.
MOST_CLAIMED = 100
MOST_FINISHED = 100
MOST_BEATS = 1000

#: The largest result, in bytes of JSON without spaces, and its most levels.
LARGEST_RESULT = 1_048_576
DEEPEST_RESULT = 64

#: The most seconds until another attempt that may be asked for: six days.
LONGEST_PAUSE = 518_400.0

#: A task's job, stage, id and attempt: one attempt.
Key = tuple[str, int, str, int]

Kind = Literal["completed", "failed", "retry", "released"]


@dataclass(slots=True)
class Claimed:
    """A task that the app gave to this worker for one attempt."""

    job_id: str
    stage: int
    task_id: str
    node: str
    handler: str
    params: Any
    attempt: int
    lease_seconds: float
    predecessor_result: Any = None
    timeout_seconds: float | None = None
    traceparent: str | None = None

    @property
    def key(self) -> Key:
        """What names the attempt."""
        return (self.job_id, self.stage, self.task_id, self.attempt)

    def __str__(self) -> str:
        return f"{self.handler} of job {self.job_id[:12]}, task {self.task_id}"

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Claimed:
        """Read a task of a claim's answer.

        Raises:
            LastlightError: It is no task.
        """
        try:
            timeout = answer.get("timeout_seconds")
            return cls(
                job_id=str(answer["job_id"]),
                stage=int(answer["stage"]),
                task_id=str(answer["task_id"]),
                node=str(answer.get("node") or ""),
                handler=str(answer["handler"]),
                params=answer.get("params") or {},
                attempt=int(answer["attempt"]),
                lease_seconds=max(0.3, float(answer["lease_seconds"])),
                predecessor_result=answer.get("predecessor_result"),
                timeout_seconds=None if timeout is None else float(timeout),
                traceparent=answer.get("traceparent"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LastlightError(f"the app gave a task that cannot be read: {error!r}") from error


@dataclass(slots=True)
class Ended:
    """How an attempt ended."""

    kind: Kind
    result: str | None = None
    """The result's JSON, of a completed attempt."""
    error: str | None = None
    error_type: str | None = None
    retry_after: float | None = None
    """Seconds."""
    log_tail: str | None = None

    def as_json(self, key: Key) -> str:
        """Return the text of an outcome in a finish."""
        fields: dict[str, Any] = {**_named(key), "outcome": self.kind}
        for name, value in (
            ("error", self.error),
            ("error_type", self.error_type),
            ("retry_after_seconds", self.retry_after),
            ("log_tail", self.log_tail or None),
        ):
            if value is not None:
                fields[name] = value
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return text if self.result is None else f'{text[:-1]},"result":{self.result}}}'


def _named(key: Key) -> dict[str, Any]:
    job_id, stage, task_id, attempt = key
    return {"job_id": job_id, "stage": stage, "task_id": task_id, "attempt": attempt}


def claim_body(worker_id: str, queue: str, handlers: Sequence[str], most: int) -> str:
    """Return the body of a claim of at most `most` tasks."""
    return json.dumps(
        {
            "worker_id": worker_id,
            "queue": queue,
            "handlers": list(handlers),
            "max": min(most, MOST_CLAIMED),
            "wait_seconds": CLAIM_WAIT,
        }
    )


def heartbeat_body(worker_id: str, tasks: Iterable[tuple[Key, Mapping[str, Any]]]) -> str:
    """Return the body of a heartbeat, with what changed of each task."""
    told = [{**_named(key), **changed} for key, changed in tasks]
    return json.dumps({"worker_id": worker_id, "tasks": told}, ensure_ascii=False)


def finish_body(worker_id: str, outcomes: Iterable[str]) -> str:
    """Return the body of a finish, of outcomes as `Ended.as_json` gives them."""
    return f'{{"worker_id":{json.dumps(worker_id)},"outcomes":[{",".join(outcomes)}]}}'


def tasks_of(document: Any) -> list[Claimed]:
    """Read a claim's answer.

    Raises:
        LastlightError: It is no such answer.
    """
    return [Claimed.of(task) for task in _listed(document, "tasks")]


def answers_of(document: Any, name: str) -> dict[Key, tuple[str, str]]:
    """Read the answer and the error of each task, of a heartbeat's or a finish's answer.

    Raises:
        LastlightError: It is no such answer.
    """
    answers: dict[Key, tuple[str, str]] = {}
    for one in _listed(document, name):
        try:
            key = (str(one["job_id"]), int(one["stage"]), str(one["task_id"]), int(one["attempt"]))
            answers[key] = (str(one["answer"]), str(one.get("error") or ""))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LastlightError(f"the app gave an unreadable answer: {error!r}") from error
    return answers


def _listed(document: Any, name: str) -> list[Any]:
    found = document.get(name) if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise LastlightError(f"this is no answer of lastlight: it has no list {name!r}")
    return found


@dataclass(frozen=True, slots=True)
class NotDone:
    """A request that did not succeed."""

    error: LastlightError
    again: bool
    """Whether the same request may succeed later, whatever went before."""
    seconds: float = 0.0
    """The least pause that the app asks for."""


def not_done(path: str, status: int, text: str, retry_after: str | None) -> NotDone:
    """Say what an answer with another status than 200 means."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    about = document if isinstance(document, dict) else {}
    said = about.get("message") or about.get("error") or text[:200].strip() or "without a reason"
    message = f"POST {path}: status {status}: {said}"
    if status in (408, 425, 429) or status >= 500:
        try:
            seconds = min(60.0, max(0.0, float(retry_after or 0)))
        except ValueError:
            seconds = 0.0
        return NotDone(LastlightError(message), again=True, seconds=seconds)
    if status in (401, 403):
        message += "; the key is missing or wrong (LASTLIGHT_KEY)"
    if status == 404 or 300 <= status < 400:
        message += "; the address is not that of an app with workers (LASTLIGHT_URL)"
    return NotDone(Refused(message, status, about), again=False)
