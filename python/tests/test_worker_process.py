"""A worker as a process: its start, its signals, its end, and an app that is away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_app import KEY, FakeApp, until
from worker_process import exists, started, until_gone

from lastlight import Refused, Worker


@pytest.fixture
def app() -> Iterator[FakeApp]:
    app = FakeApp()
    yield app
    app.close()


def _pids(path: Path) -> Any:
    until(path.exists, f"{path} is written")
    return json.loads(path.read_text())


def test_a_stop_lets_running_attempts_end(app: FakeApp, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    with started(app.url, tmp_path, "--concurrency", "3") as worker:
        tasks = [
            app.add("progress", {"go_on": str(go_on)}),
            app.add("thread_waits", {"go_on": str(go_on)}),
        ]
        for task in tasks:
            app.claimed(task)
        worker.signal(signal.SIGTERM)
        until(lambda: "stops" in worker.said, "it stops")
        late = app.add("echo")
        go_on.touch()
        assert [app.outcome(task)["outcome"] for task in tasks] == ["completed"] * 2
        assert worker.code() == 0
        assert not app.tasks[late].is_claimed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_releases_what_does_not_end(
    app: FakeApp, tmp_path: Path, number: signal.Signals
) -> None:
    path, go_on = tmp_path / "pid", tmp_path / "never"
    with started(app.url, tmp_path, "--grace", "0.5", "--concurrency", "3") as worker:
        tasks = [
            app.add("cleans_up", {"path": str(path), "cleaned": str(tmp_path / "cleaned")}),
            app.add("thread_waits", {"go_on": str(go_on)}),
            app.add("on_loop", {"seconds": 3600}),
        ]
        pid = _pids(path)
        for task in tasks:
            app.claimed(task)
        worker.signal(number)
        assert [app.outcome(task)["outcome"] for task in tasks] == ["released"] * 3
        assert worker.code() == 0
        assert not exists(pid)
        assert (tmp_path / "cleaned").exists(), "SIGTERM came first"


def test_a_second_signal_ends_all_at_once(app: FakeApp, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with started(app.url, tmp_path, "--grace", "3600") as worker:
        task = app.add("stubborn", {"path": str(path)})
        pid = _pids(path)
        worker.signal(signal.SIGTERM)
        until(lambda: "stops" in worker.said, "it stops")
        assert exists(pid)
        worker.signal(signal.SIGTERM)
        assert app.outcome(task)["outcome"] == "released"
        assert worker.code() == 0
        assert not exists(pid)


def test_a_killed_worker_leaves_no_processes(app: FakeApp, tmp_path: Path) -> None:
    with started(app.url, tmp_path, "--concurrency", "3") as worker:
        idle = app.run("echo")["result"]["pid"]
        handlers = ["holds_interpreter", "stubborn", "starts_program"]
        for handler in handlers:
            app.add(handler, {"path": str(tmp_path / handler)})
        hangs, stubborn, started_one = (_pids(tmp_path / handler) for handler in handlers)
        pids = [idle, hangs, stubborn, started_one[0]]
        worker.signal(signal.SIGKILL)
        worker.code()
        for pid in pids:
            until_gone(pid)
        # What a handler started ends with the container; here, nobody else ends it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(started_one[1], signal.SIGKILL)


def test_a_lost_answer_to_a_finish_is_asked_for_again(app: FakeApp, tmp_path: Path) -> None:
    app.lost_answers = 2
    with started(app.url, tmp_path) as worker:
        task = app.tasks[app.add("echo", {"a": 1})]
        until(lambda: len(task.outcomes) == 3, "it is sent until it is answered")
        assert task.outcomes[0] == task.outcomes[1] == task.outcomes[2]
        worker.signal(signal.SIGTERM)
        assert worker.code() == 0
        assert len(task.outcomes) == 3


def test_a_worker_outlives_an_app_that_is_away(app: FakeApp, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    with started(app.url, tmp_path) as worker:
        task = app.add("progress", {"go_on": str(go_on)}, lease_seconds=1)
        until(lambda: app.tasks[task].beats, "a heartbeat")
        app.away = True
        until(lambda: worker.said.count("heartbeat is sent again") >= 2, "missed heartbeats")
        go_on.touch()
        until(lambda: "outcomes are sent again" in worker.said, "a missed outcome")
        app.status = {"claim": 404, "finish": 503, "heartbeat": 401}
        app.away = False
        until(lambda: "status 503" in worker.said, "an app that starts")
        until(lambda: "status 404" in worker.said, "an app that starts")
        app.status = {}
        assert app.outcome(task)["result"] == "done"
        assert app.run("echo")["outcome"] == "completed"
        assert worker.is_alive()


def test_a_worker_waits_for_an_app_that_is_not_there_yet(app: FakeApp, tmp_path: Path) -> None:
    app.status = {"claim": 503}
    with started(app.url, tmp_path) as worker:
        until(lambda: "a claim is sent again" in worker.said, "a missed claim")
        app.status = {}
        assert app.run("echo")["outcome"] == "completed"


def test_an_outcome_that_is_not_taken_becomes_a_failure(app: FakeApp, tmp_path: Path) -> None:
    with started(app.url, tmp_path):
        task = app.add("echo")
        app.tasks[task].finish_answer = "invalid"
        outcome = app.outcome(task)
        assert outcome["outcome"] == "failed"
        assert "did not take the attempt's outcome: the reason" in outcome["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": "wrong"}, "the key is missing or wrong (LASTLIGHT_KEY)"),
        ({"key": None}, "the key is missing or wrong (LASTLIGHT_KEY)"),
        ({"url": "/elsewhere"}, "the address is not that of an app with workers (LASTLIGHT_URL)"),
    ],
)
def test_a_wrong_key_or_address_ends_the_worker(
    app: FakeApp, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    url = app.url + change.pop("url", "")
    with started(url, tmp_path, **change) as worker:
        assert worker.code() == 1
        assert words in worker.said
        assert "Traceback" not in worker.said


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ("nothing:worker", "there is no module 'nothing'"),
        ("needs:worker", "No module named 'not_installed'"),
        ("broken:worker", "ZeroDivisionError: division by zero"),
        ("exits:worker", "SystemExit: 5"),
        ("plain:worker", "'worker' in plain is missing"),
        ("plain:number", "'number' in plain is a int"),
        ("plain", "has 0 workers"),
        ("empty:worker", "has no handlers"),
        ("a b:worker", "is not of the form my.module:worker"),
    ],
)
def test_a_worker_that_cannot_be_imported_is_a_usage_error(
    tmp_path: Path, worker: str, words: str
) -> None:
    for name, text in {
        "needs": "import not_installed",
        "broken": "1 / 0",
        "exits": "raise SystemExit(5)",
        "plain": "number = 1",
        "empty": "from lastlight import Worker\nworker = Worker()",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    with started("http://127.0.0.1:9", tmp_path, worker=worker, cwd=tmp_path) as process:
        assert process.code() == 2
        assert words in process.said


@pytest.mark.parametrize(
    "arguments",
    [["--concurrency", "0"], ["--grace", "nan"], ["--queue", "q" * 51], ["--url", "localhost"]],
)
def test_wrong_arguments_are_usage_errors(tmp_path: Path, arguments: list[str]) -> None:
    with started("http://127.0.0.1:9", tmp_path, *arguments) as process:
        assert process.code() == 2


def test_help_says_variables_and_exit_codes() -> None:
    command = [sys.executable, "-m", "lastlight._cli", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "LASTLIGHT_KEY" in text
    assert "exit codes:" in text


def test_processes_that_cannot_start_end_the_worker(app: FakeApp, tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text(
        "import os\n"
        "from lastlight import Worker\n"
        "worker = Worker()\n"
        "worker.handler('echo')(lambda params: params)\n"
        "if os.environ.setdefault('FIRST', str(os.getpid())) != str(os.getpid()):\n"
        "    raise RuntimeError('not twice')\n"
    )
    with started(app.url, tmp_path, worker="once", cwd=tmp_path) as worker:
        tasks = [app.add("echo") for _ in range(30)]
        assert worker.code() == 1
        assert "processes for handlers do not start: RuntimeError: not twice" in worker.said
        told = [one for task in tasks for one in app.tasks[task].outcomes]
        assert {one["outcome"] for one in told} == {"released"}
        assert "not twice" in told[0]["error"]


def test_a_script_runs_its_own_worker(app: FakeApp, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from lastlight import Worker\n"
        "worker = Worker(queue='mine')\n"
        "class Own(Exception): pass\n"
        "@worker.handler('own')\n"
        "def own(params):\n"
        "    raise Own('here')\n"
        "if __name__ == '__main__':\n"
        "    worker.run(concurrency=1, grace=1)\n"
    )
    environment = {**os.environ, "LASTLIGHT_URL": app.url, "LASTLIGHT_KEY": KEY}
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=environment)
    outcome = app.run("own", queue="mine")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert outcome["error_type"] == "Own"
    assert outcome["error"].startswith("here")


def test_echo_prints_what_handlers_print(app: FakeApp, tmp_path: Path) -> None:
    with started(app.url, tmp_path, "--echo") as worker:
        app.run("print", {"megabytes": 0})
        app.run("in_thread")
        until(lambda: "the last line" in worker.said, "it is printed")
        until(lambda: "printed in a thread" in worker.said, "it is printed")


def test_without_echo_what_handlers_print_is_theirs_alone(app: FakeApp, tmp_path: Path) -> None:
    with started(app.url, tmp_path) as worker:
        app.run("print", {"megabytes": 0})
        app.run("in_thread")
        assert "line" not in worker.said
        assert "in a thread" not in worker.said


def test_many_short_tasks_are_claimed_and_told_together(app: FakeApp) -> None:
    worker = Worker(url=app.url, key=KEY)
    worker.handler("noop", isolation="thread")(lambda params: params["n"])
    tasks = [app.add("noop", {"n": number}) for number in range(2000)]
    thread = threading.Thread(target=worker.run, kwargs={"concurrency": 100})
    thread.start()
    assert [app.outcome(task)["result"] for task in tasks] == list(range(2000))
    worker.stop()
    thread.join()
    assert app.finishes < 400
    assert all(len(app.tasks[task].outcomes) == 1 for task in tasks)


def test_handlers_that_block_get_more_threads(app: FakeApp) -> None:
    worker = Worker(url=app.url, key=KEY)
    everyone = threading.Barrier(30)
    worker.handler("meet", isolation="thread")(lambda _: everyone.wait(60) >= 0)
    tasks = [app.add("meet") for _ in range(30)]
    thread = threading.Thread(target=worker.run, kwargs={"concurrency": 30})
    thread.start()
    assert all(app.outcome(task)["result"] is True for task in tasks)
    worker.stop()
    thread.join()


def test_run_says_that_the_key_is_refused(app: FakeApp) -> None:
    worker = Worker(url=app.url, key="wrong")
    worker.handler("noop", isolation="thread")(lambda _: None)
    with pytest.raises(Refused, match="LASTLIGHT_KEY") as refused:
        worker.run(concurrency=1)
    assert refused.value.status == 401


def test_a_signal_from_elsewhere_ends_no_attempt(app: FakeApp, tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    with started(app.url, tmp_path) as worker:
        pid = app.run("echo")["result"]["pid"]
        task = app.add("progress", {"go_on": str(go_on)}, lease_seconds=1)
        until(lambda: app.tasks[task].beats, "it runs")
        os.kill(pid, signal.SIGTERM)
        count = len(app.tasks[task].beats)
        until(lambda: len(app.tasks[task].beats) > count + 1, "it goes on")
        go_on.touch()
        assert app.outcome(task)["result"] == "done"
        assert worker.is_alive()


def test_an_idle_process_that_was_killed_costs_no_attempt(app: FakeApp, tmp_path: Path) -> None:
    with started(app.url, tmp_path, "--concurrency", "1"):
        pid = app.run("echo")["result"]["pid"]
        os.kill(pid, signal.SIGKILL)
        outcome = app.run("echo")
        assert outcome["outcome"] == "completed"
        assert outcome["result"]["pid"] != pid
