"""What handlers may do, and what becomes of those that do what they should not.

All run in one worker with two slots: that it runs the next one shows that the last one did not
harm it.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_app import FakeApp, until
from odd_cases import CASES, Case
from worker_process import WorkerProcess, started, until_gone


@pytest.fixture(scope="module")
def app() -> Iterator[FakeApp]:
    app = FakeApp()
    yield app
    app.close()


@pytest.fixture(scope="module")
def shared(app: FakeApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    with started(app.url, tmp_path_factory.mktemp("worker"), "--concurrency", "2") as worker:
        yield worker


@pytest.fixture(autouse=True)
def worker(app: FakeApp, shared: WorkerProcess) -> Iterator[WorkerProcess]:
    """Return the worker, which must run a plain handler before and after each test."""
    assert app.run("echo", {"a": 1})["outcome"] == "completed"
    yield shared
    assert app.run("echo")["outcome"] == "completed"
    assert shared.is_alive()


def _failed(outcome: dict[str, Any]) -> str:
    assert outcome["outcome"] == "failed", outcome
    assert "result" not in outcome
    error = outcome["error"]
    assert isinstance(error, str)
    assert len(error.encode()) <= 4096
    return error


def test_a_handler_gets_its_task_and_returns_a_result(app: FakeApp) -> None:
    outcome = app.run(
        "seen", {"a": [1, "é"]}, attempt=3, stage=2, predecessor_result=[5], timeout_seconds=60
    )
    assert outcome["outcome"] == "completed"
    remaining = outcome["result"].pop("remaining")
    assert 0 < remaining <= 60
    assert outcome["result"] == {
        "params": {"a": [1, "é"]},
        "job_id": "j" * 64,
        "stage": 2,
        "node": "node",
        "attempt": 3,
        "before": [5],
    }
    assert "log_tail" not in outcome


def test_a_process_is_used_again(app: FakeApp) -> None:
    pids = {app.run("echo")["result"]["pid"] for _ in range(10)}
    assert len(pids) <= 2, "one per slot"


def test_an_exception_says_where(app: FakeApp) -> None:
    outcome = app.run("raise")
    error = _failed(outcome)
    assert error.startswith("a\ufffdb \ufffd")
    assert "at raise_" in error
    assert "odd_handlers.py" in error
    assert outcome["error_type"] == "ValueError"
    assert "Traceback (most recent call last)" in outcome["log_tail"]
    assert "\0" not in outcome["log_tail"]


def test_a_huge_message_is_cut(app: FakeApp) -> None:
    outcome = app.run("raise", {"length": 50_000_000})
    assert "raise_" in _failed(outcome)
    assert len(outcome["log_tail"].encode()) <= 64 * 1024


def test_an_exception_that_cannot_be_read_or_pickled_is_named(app: FakeApp) -> None:
    outcome = app.run("raise_own")
    assert "cannot be had: RuntimeError" in _failed(outcome)
    assert "caused by KeyError: 'the cause'" in outcome["error"]
    assert outcome["error_type"] == "odd_handlers.raise_own.<locals>.Unreadable"


def test_a_handler_asks_for_another_attempt(app: FakeApp) -> None:
    outcome = app.run("retry")
    assert outcome["outcome"] == "retry"
    assert outcome["retry_after_seconds"] == 30
    assert outcome["error"] == "the service is busy"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_a_handler_does_wrong_fails_one_attempt(app: FakeApp, case: Case) -> None:
    outcome = app.run(case.handler, case.params, timeout_seconds=case.timeout_seconds)
    assert case.words in _failed(outcome)
    assert outcome["error_type"] == case.error_type


def test_results_up_to_the_limits_are_taken(app: FakeApp) -> None:
    assert len(app.run("return", {"value": "largest"})["result"].encode()) == 1024 * 1024 - 2
    assert json.dumps(app.run("return", {"value": "deepest"})["result"]).count("[") == 64
    assert app.run("return", {"value": "dates"})["result"] == ["2026-11-30", "a/b", [1, 2]]
    assert app.run("return", {"value": "none"})["result"] is None


def test_a_segfault_ends_one_attempt(app: FakeApp, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    sibling = app.add("progress", {"go_on": str(go_on)})
    outcome = app.run("segfault")
    assert "SIGSEGV (Segmentation fault)" in _failed(outcome)
    assert outcome["error_type"] == "ProcessDied"
    assert "before the end" in outcome["log_tail"]
    assert "in segfault" in outcome["log_tail"], "the line in Python"
    go_on.touch()
    assert app.outcome(sibling)["result"] == "done"


@pytest.mark.parametrize(
    ("size", "pause", "words"),
    [
        (10**10, 0.0, "out of memory: the handler's limit is 200.0 MiB"),
        (1_000_000, 0.004, "and its limit is 200.0 MiB"),
    ],
)
def test_memory_is_limited(app: FakeApp, size: int, pause: float, words: str) -> None:
    outcome = app.run("allocate", {"bytes": size, "pause": pause})
    error = _failed(outcome)
    assert "out of memory" in error
    assert words in error
    assert outcome["error_type"] == "MemoryError"


@pytest.mark.parametrize("handler", ["sleep", "stubborn", "cleans_up", "holds_interpreter"])
def test_an_attempt_ends_at_its_timeout(app: FakeApp, handler: str, tmp_path: Path) -> None:
    path, cleaned = tmp_path / "pid", tmp_path / "cleaned"
    given = None if handler == "sleep" else 0.5
    params = {"path": str(path), "cleaned": str(cleaned)}
    outcome = app.run(handler, params, timeout_seconds=given)
    assert f"longer than its timeout of {given or 1:g} seconds" in _failed(outcome)
    assert outcome["error_type"] == "TimeoutError"
    if path.exists():
        until_gone(json.loads(path.read_text()))
    assert cleaned.exists() == (handler == "cleans_up")


def test_programs_that_a_handler_started_end_with_it(app: FakeApp, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    _failed(app.run("starts_program", {"path": str(path)}, timeout_seconds=2))
    for pid in json.loads(path.read_text()):
        until_gone(pid)


@pytest.mark.parametrize("leaves_session", [False, True])
def test_a_fork_that_holds_the_pipes_holds_up_nothing(
    app: FakeApp, tmp_path: Path, leaves_session: bool
) -> None:
    path = tmp_path / "pids"
    params = {"path": str(path), "leaves_session": leaves_session}
    assert "exit code 3" in _failed(app.run("leaves_program", params))
    handler, fork = json.loads(path.read_text())
    until_gone(handler)
    if leaves_session:
        os.kill(fork, signal.SIGKILL)
    until_gone(fork)


@pytest.mark.parametrize("answer", ["cancelled", "lost"])
def test_an_attempt_that_does_not_count_ends(app: FakeApp, answer: str, tmp_path: Path) -> None:
    watched, stubborn = (tmp_path / name for name in ("watched", "stubborn"))
    cancelled = tmp_path / "cancelled"
    tasks = [
        app.add("watches", {"path": str(watched), "cancelled": str(cancelled)}, lease_seconds=1),
        app.add("stubborn", {"path": str(stubborn)}, lease_seconds=1),
    ]
    until(lambda: watched.exists() and stubborn.exists(), "both run")
    for task in tasks:
        app.tasks[task].answer = answer
    until(cancelled.exists, "the context says so")
    until_gone(json.loads(stubborn.read_text()))
    assert app.run("echo")["outcome"] == "completed"
    assert not any(app.tasks[task].outcomes for task in tasks)


def test_progress_is_told_with_heartbeats(app: FakeApp, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    task = app.add("progress", {"go_on": str(go_on)}, lease_seconds=1)
    beats = app.tasks[task].beats
    until(lambda: any(beat.get("progress") == 0.75 for beat in beats), "the progress")
    assert next(b for b in beats if b.get("progress") == 0.75)["message"] == "reading"
    count = len(beats)
    until(lambda: len(beats) > count + 1, "more heartbeats")
    assert "progress" not in beats[-1], "it has not changed"
    go_on.touch()
    assert app.outcome(task)["result"] == "done"


@pytest.mark.parametrize("megabytes", [0, 100])
def test_the_end_of_what_is_printed_is_kept(
    app: FakeApp, worker: WorkerProcess, megabytes: int
) -> None:
    outcome = app.run("print", {"megabytes": megabytes})
    tail = outcome["log_tail"]
    assert len(tail.encode()) <= 64 * 1024
    assert ("the first line" in tail) == (megabytes == 0)
    last = tail.split("xxx\n")[-1]
    assert "to stderr\n" in last
    assert "WARNING mine: a record\n" in last
    assert "\ufffd\ufffd raw bytes\n" in last
    assert "from C\n" in last
    assert "the last line\n" in last
    assert outcome["result"] in {app.run("echo")["result"]["pid"] for _ in range(4)}, "used again"
    assert "the last line" not in worker.said
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    assert int(peak.split()[1]) < 300 * 1024, "KiB"


def test_short_handlers_run_in_threads(app: FakeApp) -> None:
    outcome = app.run("in_thread", {"a": 1})
    assert outcome["result"] == ["lastlight-handler", {"a": 1}]
    assert "printed in a thread\n" in outcome["log_tail"]
    assert "logged in a thread\n" in outcome["log_tail"]
    failed = app.run("in_thread", {"fail": "not here"})
    assert _failed(failed).startswith("not here")
    assert failed["error_type"] == "LookupError"


def test_async_handlers_run_in_the_loop(app: FakeApp) -> None:
    outcome = app.run("on_loop", {"seconds": 0.01})
    assert outcome["result"] is True
    assert outcome["log_tail"] == "printed in the loop\n"
    late = app.run("on_loop", {"seconds": 3600}, timeout_seconds=0.2)
    assert "longer than its timeout" in _failed(late)


def test_a_thread_that_is_late_keeps_its_slot(app: FakeApp, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    late = [app.add("thread_waits", {"go_on": str(go_on)}, timeout_seconds=0.2) for _ in range(2)]
    for task in late:
        assert "longer than its timeout" in _failed(app.outcome(task))
    waits = app.add("echo")
    assert not app.tasks[waits].is_claimed
    go_on.touch()
    assert app.outcome(waits)["outcome"] == "completed"
    assert all(len(app.tasks[task].outcomes) == 1 for task in late)


def test_a_trace_is_continued(app: FakeApp) -> None:
    pytest.importorskip("opentelemetry")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    outcome = app.run("trace", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert outcome["result"] == trace
