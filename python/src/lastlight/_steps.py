"""What the clients do, as generators that neither send nor sleep: so one text serves both clients.

A generator yields a `Send`, and receives its `Answer` or an `httpx.TransportError`; or yields a
`Sleep` and receives nothing. What it returns is the result.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from lastlight._errors import JobFailed, LastlightError, Refused, StillRunning, Unavailable
from lastlight._json import dumps
from lastlight._model import Status, Task

T = TypeVar("T")

# Attempts at a request that is not answered, or answered with one of these statuses.
_MOST_ATTEMPTS = 6
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})

# Seconds of the first pause between attempts, which doubles, and of the longest.
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0

# Seconds for which the app may hold back the answer to a status request until the job has changed.
_WAIT = 25

# Seconds until a request counts as not answered.
TIMEOUT = httpx.Timeout(60.0, connect=10.0)

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Send:
    """A request to the app."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The app's answer."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause, in seconds."""

    seconds: float


Steps = Generator["Send | Sleep", "Answer | httpx.TransportError | None", T]


def address(url: str | None) -> str:
    """Return the app's address, of an argument or of the variable LASTLIGHT_URL."""
    found = url or os.environ.get("LASTLIGHT_URL") or "http://127.0.0.1:7071"
    if not found.startswith(("http://", "https://")):
        raise ValueError(f"the address must begin with http:// or https://: {found!r}")
    return found.rstrip("/").removesuffix("/api")


def headers(url: str, key: str | None) -> dict[str, str]:
    """Return the headers of each request, with the key of an argument or of LASTLIGHT_KEY."""
    found = key or os.environ.get("LASTLIGHT_KEY")
    if found and not _is_private(url):
        raise ValueError(
            f"{url} is plain HTTP to another machine, so the key could be read in transit: "
            "use https://, or no key"
        )
    return {"x-functions-key": found} if found else {}


def _is_private(url: str) -> bool:
    """Whether requests are protected in transit: HTTPS, or an address on this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def ask(send: Send) -> Steps[Any]:
    """Send a request until it is answered, and return the answer's JSON.

    All requests of this package may be sent again: a submission has the same id each time.
    """
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        answer = yield send
        if isinstance(answer, Answer) and answer.status not in _TRY_AGAIN:
            return _read(send, answer)
        if attempt < _MOST_ATTEMPTS:
            pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
            # Clients that failed together do not come back together.
            yield Sleep(pause * random.uniform(0.5, 1.0))
    said = f"status {answer.status}: {_message(answer)}" if isinstance(answer, Answer) else answer
    raise Unavailable(
        f"{send.method} {send.path} was not answered in {_MOST_ATTEMPTS} attempts: "
        f"{said or 'no answer'}"
    )


def _read(send: Send, answer: Answer) -> Any:
    try:
        document = json.loads(answer.text)
    except ValueError:
        document = None
    if 400 <= answer.status < 500:
        about = document if isinstance(document, dict) else {}
        hint = (
            "; the key is missing or wrong (LASTLIGHT_KEY)" if answer.status in (401, 403) else ""
        )
        message = about.get("message") or f"status {answer.status}"
        raise Refused(f"{send.method} {send.path}: {message}{hint}", answer.status, about)
    if document is None or answer.status != 200:
        raise LastlightError(
            f"{send.method} {send.path}: this is no answer of lastlight (status {answer.status}): "
            f"{answer.text[:200]!r}"
        )
    return document


def _message(answer: Answer) -> str:
    try:
        document = json.loads(answer.text)
    except ValueError:
        return answer.text[:200]
    return str(document.get("message", "")) if isinstance(document, dict) else answer.text[:200]


def submit(job_type: str, parameters: Mapping[str, Any]) -> Steps[tuple[str, list[str]]]:
    """Return the id of the submitted job, and warnings."""
    body = dumps(parameters, "parameters")
    answer = yield from ask(Send("POST", f"/api/jobs/submit/{quote(job_type, safe='')}", body=body))
    return answer["job_id"], answer.get("warnings", [])


def status(job_id: str, wait: int = 0, seen: str | None = None) -> Steps[Status]:
    """Return a job's status; with `wait`, once it differs from the version `seen`."""
    params: dict[str, str | int] = {}
    if wait > 0:
        params["wait"] = wait
        if seen is not None:
            params["seen"] = seen
    answer = yield from ask(Send("GET", f"/api/jobs/status/{quote(job_id, safe='')}", params))
    return Status._of(answer)


class Changes:
    """The statuses of a job, each different from the last, until the job or a time is over."""

    def __init__(self, job_id: str, timeout: float | None) -> None:
        self._job_id = job_id
        self._until = None if timeout is None else time.monotonic() + timeout
        self._seen: str | None = None

    def next(self) -> Steps[Status]:
        """Return the next status.

        Raises:
            StillRunning: The time is over, and the job has not ended.
        """
        while True:
            left = None if self._until is None else self._until - time.monotonic()
            wait = _WAIT if left is None else max(0, min(_WAIT, int(left)))
            now = yield from status(self._job_id, wait, self._seen)
            if now.is_finished:
                return now
            if left is not None and left <= 0:
                raise StillRunning(f"the job had not finished in time: {now}")
            version = now.answer.get("version")
            if version != self._seen:
                self._seen = version
                return now
            if wait == 0:
                yield Sleep(0.2)


def result(now: Status) -> Any:
    """Return the result of a finished job."""
    if not now.is_finished:
        raise StillRunning(f"the job has no result yet: {now}; wait() for it")
    if now.status in ("failed", "cancelled"):
        raise JobFailed(now.job_id, now.status, now.error)
    return now.result


def control(job_id: str, change: str) -> Steps[str]:
    """Change a job; return what happened."""
    answer = yield from ask(Send("POST", f"/api/jobs/{change}/{quote(job_id, safe='')}"))
    return str(answer["message"])


def decide(job_id: str, node: str, decision: str, details: Mapping[str, Any]) -> Steps[str]:
    """Decide at a gate; return what happened."""
    given = {name: value for name, value in details.items() if value is not None}
    body = dumps({"decision": decision, **given}, "decision")
    path = f"/api/jobs/gate/{quote(job_id, safe='')}/{quote(node, safe='')}"
    answer = yield from ask(Send("POST", path, body=body))
    return str(answer["message"])


def page(
    job_id: str, stage: int | None, state: str | None, cursor: str | None
) -> Steps[tuple[list[Task], str | None]]:
    """Return some tasks, and the cursor of the next page; None after the last."""
    given = {"limit": _PAGE, "stage": stage, "status": state, "cursor": cursor}
    params = {name: value for name, value in given.items() if value is not None}
    answer = yield from ask(Send("GET", f"/api/db/tasks/{quote(job_id, safe='')}", params))
    return [Task._of(task) for task in answer["tasks"]], answer["query_info"]["next_cursor"]
