"""The app's side of the protocol of workers, in memory: tasks are added, outcomes looked at.

Tests use `add` and `outcome`, which any other app with the same protocol can offer.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "the-secret-key"


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait until a condition holds, and return what it returned."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not in {seconds:g} seconds: {what}"
        time.sleep(0.01)


@dataclass
class FakeTask:
    """A task, and what workers said of it."""

    fields: dict[str, Any]
    queue: str
    is_claimed: bool = False
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    beats: list[dict[str, Any]] = field(default_factory=list)
    answer: str = "continue"
    """What heartbeats are answered."""
    finish_answer: str | None = None
    """What the first finish is answered in place of `counted`."""


class FakeApp:
    """The app."""

    def __init__(self) -> None:
        self.tasks: dict[str, FakeTask] = {}
        self.claims: list[dict[str, Any]] = []
        self.beats = 0
        self.finishes = 0
        self.away = False
        """Whether requests end without an answer."""
        self.lost_answers = 0
        """Number of finishes that are read, and not answered."""
        self.status: dict[str, int] = {}
        """Statuses other than 200, by the end of the path."""
        self._changed = threading.Condition()
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                name = self.path.rpartition("/")[2]
                if app.away:
                    self.close_connection = True
                    return
                status = app.status.get(name, 200)
                if self.headers.get("x-functions-key") != KEY:
                    status = 401
                if not self.path.startswith("/api/workers/"):
                    status = 404
                answer: dict[str, Any] | None = {"error": f"the status is {status}"}
                if status == 200:
                    answer = getattr(app, f"_{name}")(body)
                if answer is None:
                    self.close_connection = True
                    return
                text = json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """End the server."""
        self.away = True
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(
        self, handler: str, params: Any = None, *, queue: str = "default", **fields: Any
    ) -> str:
        """Add a task, and return its id."""
        with self._changed:
            task_id = f"task-{len(self.tasks)}"
            task = {
                "job_id": "j" * 64,
                "stage": 1,
                "task_id": task_id,
                "node": "node",
                "handler": handler,
                "params": params or {},
                "attempt": 1,
                "lease_seconds": 30.0,
                "timeout_seconds": None,
                "traceparent": None,
            }
            self.tasks[task_id] = FakeTask({**task, **fields}, queue)
            self._changed.notify_all()
        return task_id

    def outcome(self, task_id: str) -> dict[str, Any]:
        """Wait for the outcome of a task's attempt."""
        task = self.tasks[task_id]
        until(lambda: task.outcomes, f"the outcome of {task.fields}")
        return task.outcomes[0]

    def run(self, handler: str, params: Any = None, **fields: Any) -> dict[str, Any]:
        """Add a task, and wait for its outcome."""
        return self.outcome(self.add(handler, params, **fields))

    def claimed(self, task_id: str) -> None:
        """Wait until a task is claimed."""
        until(lambda: self.tasks[task_id].is_claimed, f"the claim of {task_id}")

    def _claim(self, body: dict[str, Any]) -> dict[str, Any] | None:
        assert 1 <= body["max"] <= 100
        assert 0 <= body["wait_seconds"] <= 25
        assert 1 <= len(body["worker_id"]) <= 100
        end = time.monotonic() + body["wait_seconds"]
        with self._changed:
            self.claims.append(body)
            while True:
                if self.away:
                    return None
                ready = [
                    task
                    for task in self.tasks.values()
                    if not task.is_claimed
                    and task.queue == body["queue"]
                    and task.fields["handler"] in body["handlers"]
                ][: body["max"]]
                left = end - time.monotonic()
                if ready or left <= 0:
                    for task in ready:
                        task.is_claimed = True
                    return {"tasks": [task.fields for task in ready]}
                self._changed.wait(left)

    def _heartbeat(self, body: dict[str, Any]) -> dict[str, Any]:
        assert len(body["tasks"]) <= 1000
        self.beats += 1
        for told in body["tasks"]:
            self.tasks[told["task_id"]].beats.append(told)
        return self._answers(body["tasks"], "tasks", lambda task, _: task.answer)

    def _finish(self, body: dict[str, Any]) -> dict[str, Any] | None:
        assert 1 <= len(body["outcomes"]) <= 100
        self.finishes += 1

        def take(task: FakeTask, outcome: dict[str, Any]) -> str:
            if task.finish_answer is not None:
                answer, task.finish_answer = task.finish_answer, None
                return answer
            task.outcomes.append(outcome)
            return "counted"

        answers = self._answers(body["outcomes"], "outcomes", take)
        if self.lost_answers > 0:
            self.lost_answers -= 1
            return None
        return answers

    def _answers(
        self,
        told: list[dict[str, Any]],
        name: str,
        answer: Callable[[FakeTask, dict[str, Any]], str],
    ) -> dict[str, Any]:
        names = ("job_id", "stage", "task_id", "attempt")
        return {
            name: [
                {
                    **{field: one[field] for field in names},
                    "answer": answer(self.tasks[one["task_id"]], one),
                    "error": "the reason",
                }
                for one in told
            ]
        }
