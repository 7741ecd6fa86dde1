"""Workers and the real app: what becomes of jobs whose tasks run in workers."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from fake_app import until
from local_cloud import details, get, submit, sweep
from odd_cases import CASES
from worker_process import WorkerProcess, started, until_gone

from lastlight import Client, Job, Task

# What a wait of a job may take, in seconds: long, since it decides nothing.
_LONG = 300


def _worker(folder: Path, name: str, *arguments: str) -> tuple[str, ...]:
    """Return the arguments of a worker for the workflows of these tests, with its own log."""
    (folder / name).mkdir()
    return ("--queue", "odd", "--worker-id", name, *arguments)


def _notes(folder: Path, tile: int) -> list[str]:
    """Return what the attempts at a tile noted: that they began, and that they ended."""
    path = folder / f"tile-{tile}"
    return path.read_text().splitlines() if path.exists() else []


def _begun(folder: Path, tiles: range) -> list[int]:
    return [tile for tile in tiles if _notes(folder, tile)]


def _pid(folder: Path, tile: int) -> int:
    """Return the process of the last attempt at a tile."""
    begun = [note for note in _notes(folder, tile) if note.startswith("began in ")]
    return int(begun[-1].removeprefix("began in "))


def _let_end(folder: Path, tiles: range | list[int]) -> None:
    for tile in tiles:
        (folder / f"go-{tile}").touch()


def _tile(task: Task) -> int:
    number: int = task.parameters["tile"]
    return number


def _completed(job: Job, tiles: range) -> list[Task]:
    """Wait for the job; return the tasks of its tiles, of which each counts once."""
    job.wait(timeout=_LONG).result()
    tasks = list(job.tasks(stage=1))
    assert [task.status for task in tasks] == ["completed"] * len(tiles)
    assert sorted(_tile(task) for task in tasks) == list(tiles)
    assert all(task.result["result"] == {"tile": _tile(task)} for task in tasks), tasks
    return tasks


def test_a_job_goes_through_workers_and_the_app(url: str, client: Client, tmp_path: Path) -> None:
    tiles = range(5)
    job = submit(client, "tiles", tiles=list(tiles), folder=str(tmp_path))
    arguments = _worker(tmp_path, "first", "--concurrency", "2")
    with started(url, tmp_path / "first", *arguments) as worker:
        begun = until(lambda: len(_begun(tmp_path, tiles)) == 2 and _begun(tmp_path, tiles), "two")
        task = next(task for task in job.tasks(stage=1) if _tile(task) in begun)

        def progress() -> object:
            told = details(url, job.job_id, task.task_id)["task"]
            return told["progress"] == 0.25 and told["message"] == "reading"

        until(progress, "the progress comes with a heartbeat")
        listed = get(url, "workers?queue=odd")["workers"]
        (running,) = (one["running"] for one in listed if one["worker_id"] == "first")
        assert {one["job_id"] for one in running} == {job.job_id}
        assert {one["message"] for one in running} == {"reading"}
        assert get(url, "workers?queue=odd&value=depth")["value"] == 3
        assert get(url, "workers?queue=odd&value=open")["value"] == 5
        _let_end(tmp_path, tiles)
        for done in _completed(job, tiles):
            assert done.attempt == 1
            assert done.answer["worker_id"] == "first"
            log = details(url, job.job_id, done.task_id)["log"]
            assert log["text"] == f"reads tile {_tile(done)}\n"
        assert worker.is_alive()
    (last,) = job.tasks(stage=3)
    assert last.answer["worker_id"] is None, "the app has this handler"
    received = [one["result"]["tile"] for one in last.result["result"]["tiles"]]
    assert received == list(tiles), "in the order of the items"


def test_a_submission_warns_of_a_handler_that_nobody_serves(url: str, client: Client) -> None:
    with pytest.warns(UserWarning, match=r"handler \"nobody_has_this\" of queue \"nobody\""):
        job = client.submit("unserved", label="a")
    (queue,) = get(url, "workers?queue=nobody")["queues"]
    assert queue["unserved"] is True
    assert queue["depth"] == 1
    job.cancel()


def test_odd_handlers_fail_their_tasks_and_no_others(
    url: str, client: Client, tmp_path: Path
) -> None:
    job = submit(client, "odd", siblings=list(range(20)))
    arguments = _worker(tmp_path, "odd", "--concurrency", "2")
    with started(url, tmp_path / "odd", *arguments) as worker:
        job.wait(timeout=_LONG)
        assert worker.is_alive()
    tasks = {task.answer["task_type"]: task for task in job.tasks()}
    for name, case in CASES.items():
        task = tasks[name]
        assert task.status == "failed", (name, task)
        assert task.attempt == 1
        assert task.error is not None
        assert case.words in task.error, name
        assert case.error_type in task.error, name
    siblings = [task for task in job.tasks(stage=1) if task.answer["task_type"] == "siblings"]
    assert [task.status for task in siblings] == ["completed"] * 20
    numbers = {task.result["result"]["params"]["number"] for task in siblings}
    assert numbers == set(range(20))
    died = details(url, job.job_id, tasks["segfault"].task_id)["log"]["text"]
    assert "before the end" in died
    assert "in segfault" in died, "the line in Python"
    printed = tasks["prints"]
    assert (printed.status, printed.attempt) == ("completed", 1)
    tail = details(url, job.job_id, printed.task_id)["log"]["text"]
    assert len(tail.encode()) <= 64 * 1024
    assert "the last line\n" in tail
    job.result()


def test_a_cancelled_job_ends_its_handlers(url: str, client: Client, tmp_path: Path) -> None:
    path, cleaned = tmp_path / "pid", tmp_path / "cleaned"
    job = submit(client, "cleans_up", path=str(path), cleaned=str(cleaned))
    arguments = _worker(tmp_path, "cancelled", "--concurrency", "1")
    with started(url, tmp_path / "cancelled", *arguments) as worker:
        until(path.exists, "it runs", _LONG)
        job.cancel()
        until_gone(int(path.read_text()))
        assert cleaned.exists(), "SIGTERM came first"
        _let_end(tmp_path, [0])
        _completed(submit(client, "tiles", tiles=[0], folder=str(tmp_path)), range(1))
        assert worker.is_alive()
    assert job.status().status == "cancelled"
    (task,) = job.tasks()
    assert task.status == "skipped"


def _stopped(worker: WorkerProcess) -> None:
    worker.signal(signal.SIGTERM)
    assert worker.code() == 0


def test_a_stopped_worker_releases_its_tasks(url: str, client: Client, tmp_path: Path) -> None:
    tiles = range(6)
    job = submit(client, "tiles", tiles=list(tiles), folder=str(tmp_path))
    arguments = _worker(tmp_path, "stopped", "--concurrency", "2", "--grace", "0.5")
    with started(url, tmp_path / "stopped", *arguments) as worker:
        until(lambda: len(_begun(tmp_path, tiles)) == 2, "two tiles are begun")
        before = _begun(tmp_path, tiles)
        _let_end(tmp_path, before)
        until(lambda: len(_begun(tmp_path, tiles)) == 4, "two more are begun")
        interrupted = sorted(set(_begun(tmp_path, tiles)) - set(before))
        _stopped(worker)
    assert get(url, "workers?queue=odd&value=open")["value"] == 4
    _let_end(tmp_path, tiles)
    with started(url, tmp_path / "second", *_worker(tmp_path, "second")):
        tasks = _completed(job, tiles)
    # The node allows one attempt: an interrupted one that counted would have failed the job.
    for task in tasks:
        notes = [re.sub(r"\d+", "N", note) for note in _notes(tmp_path, _tile(task))]
        again = _tile(task) in interrupted
        assert task.attempt == (2 if again else 1)
        assert notes == (["began in N"] * (2 if again else 1)) + ["ended"]
        assert task.answer["worker_id"] == ("stopped" if _tile(task) in before else "second")


def test_a_killed_worker_costs_a_lease(url_of_short_leases: str, tmp_path: Path) -> None:
    url = url_of_short_leases
    tiles = range(3)
    with Client(url) as client:
        job = submit(client, "stubborn_tiles", tiles=list(tiles), folder=str(tmp_path))
        arguments = _worker(tmp_path, "killed", "--concurrency", "2")
        with started(url, tmp_path / "killed", *arguments) as worker:
            until(lambda: len(_begun(tmp_path, tiles)) == 2, "two tiles are begun")
            interrupted = _begun(tmp_path, tiles)
            worker.signal(signal.SIGKILL)
            worker.code()
        for tile in interrupted:
            until_gone(_pid(tmp_path, tile))
        _let_end(tmp_path, tiles)
        with started(url, tmp_path / "next", *_worker(tmp_path, "next")):

            def swept() -> bool:
                sweep(url)
                return job.status().is_finished

            until(swept, "the sweep finds what was lost", _LONG)
            tasks = _completed(job, tiles)
    for task in tasks:
        assert task.attempt >= (2 if _tile(task) in interrupted else 1)
        assert task.answer["worker_id"] == "next"
        assert _notes(tmp_path, _tile(task))[-1] == "ended"
