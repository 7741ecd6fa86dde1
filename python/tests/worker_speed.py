"""Measures tasks per second of one worker, with handlers that do nothing and an app that is fast.

    PYTHONPATH=src python tests/worker_speed.py [SECONDS] [CONCURRENCY]

It is no test, since its figure is that of the machine. The app is a process of its own.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from fake_app import KEY, FakeApp

from lastlight import Worker

worker = Worker(queue="speed", key=KEY)


@worker.handler("noop", isolation="thread")
def noop(params: Any) -> Any:
    """Do nothing."""
    return params


class _FastApp(FakeApp):
    """Has tasks without end, keeps none, and counts how many were finished."""

    def __init__(self) -> None:
        super().__init__()
        self.finished = 0
        self._numbers = itertools.count()
        self._counting = threading.Lock()

    def _claim(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "tasks": [
                {
                    "job_id": "j" * 64,
                    "stage": 1,
                    "task_id": f"task-{next(self._numbers)}",
                    "node": "node",
                    "handler": "noop",
                    "params": {"n": 1, "name": "a name", "list": [1, 2, 3]},
                    "attempt": 1,
                    "lease_seconds": 30.0,
                    "timeout_seconds": None,
                    "traceparent": None,
                }
                for _ in range(body["max"])
            ]
        }

    def _heartbeat(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"tasks": [{**one, "answer": "continue"} for one in body["tasks"]]}

    def _finish(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._counting:
            self.finished += len(body["outcomes"])
            self.finishes += 1
        for one in body["outcomes"]:
            one["answer"] = "counted"
            del one["result"]
        return {"outcomes": body["outcomes"]}


def _serve(pipe: Connection) -> None:
    app = _FastApp()
    pipe.send(app.url)
    while pipe.recv():
        pipe.send((time.monotonic(), app.finished, app.finishes))
    app.close()


def main() -> None:
    """Measure, and print the figure."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    concurrency = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()
    url = ours.recv()

    def watch() -> None:
        time.sleep(1)
        figures = []
        for pause in (seconds, 0.0):
            ours.send(True)
            figures.append((ours.recv(), time.process_time()))
            time.sleep(pause)
        ((began, before, first), cpu), ((ended, after, last), cpu_after) = figures
        rate = (after - before) / (ended - began)
        batch = (after - before) / max(1, last - first)
        used = (cpu_after - cpu) / (ended - began)
        print(f"{rate:,.0f} tasks/s, {batch:.0f} outcomes per finish, {used:.0%} of a processor")
        worker.stop()

    threading.Thread(target=watch).start()
    worker.run(concurrency=concurrency, url=url)
    ours.send(False)
    process.join()


if __name__ == "__main__":
    main()
