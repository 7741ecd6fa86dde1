"""Handlers tried without an app, and what is refused when they are registered."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from typing import Any

import pytest

from lastlight import NotJson, Permanent, Retry, TaskContext, Worker
from lastlight._finisher import Finisher
from lastlight._limits import human, parse_size
from lastlight._log_tail import LARGEST_TAIL, LogTail
from lastlight._protocol import Claimed, Ended, not_done, tasks_of


def test_a_handler_is_tried_without_an_app() -> None:
    worker = Worker(queue="raster")

    @worker.handler("validate", timeout=60, memory_limit="2GiB")
    def validate(params: Any, context: TaskContext) -> Any:
        print("printed")
        logging.getLogger("mine").warning("logged")
        context.progress(0.5, "reading")
        context.progress(2.0)
        assert not context.cancelled
        assert context.remaining is not None
        return {"n": params["n"] + 1, "before": context.predecessor_result, "in": context.attempt}

    outcome = worker.test("validate", {"n": 1}, predecessor_result=(1, 2), attempt=3)
    assert outcome.outcome == "completed"
    assert outcome.result == {"n": 2, "before": [1, 2], "in": 3}
    assert "printed\n" in outcome.log_tail
    assert "logged\n" in outcome.log_tail
    assert outcome.progress == ((0.5, "reading"), (1.0, None))
    assert validate({"n": 1}, _Context()) == {"n": 2, "before": None, "in": 1}, "it is unchanged"


class _Context(TaskContext):
    def __init__(self) -> None:
        task = Claimed("j", 1, "t", "n", "h", {}, 1, 30.0)
        super().__init__(task, 60.0, lambda *_: None)


def test_handlers_of_each_form_are_tried() -> None:
    worker = Worker()

    async def later(value: Any, _: Any) -> Any:
        return value

    worker.handler("async")(later)
    worker.handler("partial")(functools.partial(later, {"set": 1}))
    worker.handler("retry")(_raises(Retry("busy", after=1.5)))
    worker.handler("permanent")(_raises(Permanent("never")))
    worker.handler("fails")(_raises(ValueError("no")))
    assert worker.test("async", {"a": 1}).result == {"a": 1}
    assert worker.test("partial").result == {"set": 1}
    again = worker.test("retry")
    assert (again.outcome, again.error, again.retry_after) == ("retry", "busy", 1.5)
    worker.handler("much_later")(_raises(Retry(after=1e9)))
    assert worker.test("much_later").retry_after == 6 * 24 * 3600
    never = worker.test("permanent")
    assert (never.outcome, never.error_type) == ("failed", "Permanent")
    fails = worker.test("fails")
    assert (fails.outcome, fails.error_type) == ("failed", "ValueError")
    assert "ValueError: no" in fails.log_tail
    with pytest.raises(KeyError):
        worker.test("nothing")
    with pytest.raises(NotJson, match=r"params\.a is a set"):
        worker.test("fails", {"a": {1}})


def test_an_error_deep_in_a_library_names_the_line_of_the_handler() -> None:
    worker = Worker()

    @worker.handler("reads")
    def reads(_: Any) -> Any:
        return json.loads('{"a": }')

    error = worker.test("reads").error
    assert error is not None
    first, own, *others = error.splitlines()
    assert first.startswith("Expecting value")
    assert "at reads" in own
    assert "json.loads(" in own
    assert "raw_decode" in others[-1]
    assert len(others) == 2


def _raises(error: Exception) -> Any:
    def handler(_: Any) -> None:
        raise error

    return handler


def test_wrong_handlers_are_refused() -> None:
    worker = Worker()
    worker.handler("taken")(lambda _: None)
    with pytest.raises(ValueError, match="two handlers with the name 'taken'"):
        worker.handler("taken")(lambda _: None)
    with pytest.raises(TypeError, match=r"must take \(params\) or \(params, context\)"):
        worker.handler("none")(lambda: None)
    with pytest.raises(TypeError, match="must take"):
        worker.handler("three")(lambda _a, _b, _c: None)
    options: list[dict[str, Any]] = [
        {"isolation": "fiber"},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"memory_limit": "much"},
        {"memory_limit": 0},
        {"memory_limit": "1GiB", "isolation": "thread"},
    ]
    for option in options:
        with pytest.raises(ValueError, match=r"must be|needs"):
            worker.handler("wrong", **option)(lambda _: None)
    with pytest.raises(ValueError, match="queue must have 1 to 50 printable"):
        Worker(queue="")
    with pytest.raises(ValueError, match="1 to 100 printable characters"):
        worker.handler("a\nb")(lambda _: None)
    with pytest.raises(ValueError, match="after must be"):
        Retry("no", after=-1)


def test_wrong_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="no handlers"):
        Worker().run()
    worker = Worker()
    worker.handler("one", isolation="thread")(lambda _: None)
    with pytest.raises(ValueError, match="concurrency must be"):
        worker.run(concurrency=0)
    with pytest.raises(ValueError, match="grace must be"):
        worker.run(grace=-1)
    with pytest.raises(ValueError, match="worker_id must have"):
        worker.run(worker_id="x" * 101)
    worker.stop()


def test_sizes_are_read_and_written() -> None:
    assert parse_size("2GiB") == 2 * 1024**3
    assert parse_size("1.5 MB") == 1_500_000
    assert parse_size("512m") == 512_000_000
    assert parse_size("100") == parse_size(100) == 100
    assert human(2 * 1024**3) == "2.0 GiB"
    assert human(5) == "5 bytes"


def test_a_log_tail_stays_small() -> None:
    tail = LogTail()
    assert tail.text() == ""
    for _ in range(300_000):
        tail.write(b"x")
    tail.write("é\0end".encode())
    assert len(tail._bytes) <= 2 * LARGEST_TAIL
    assert tail.text().endswith("xé\ufffdend")
    tail.write(b"\xff" * 10 * LARGEST_TAIL)
    assert len(tail.text().encode()) <= LARGEST_TAIL


def test_answers_are_read() -> None:
    for status, again in [(401, False), (404, False), (302, False), (429, True), (503, True)]:
        found = not_done("/x", status, '{"error": "the reason"}', "7")
        assert found.again == again
        assert "the reason" in str(found.error)
    assert not_done("/x", 503, "<html>", "7").seconds == 7
    assert not_done("/x", 503, "<html>", "Tue").seconds == 0
    wrong: list[Any] = [None, {}, {"tasks": 1}, {"tasks": [1]}, {"tasks": [{"job_id": "j"}]}]
    for document in wrong:
        with pytest.raises(Exception, match=r"lastlight|cannot be read"):
            tasks_of(document)


def test_outcomes_are_split_where_one_is_refused() -> None:
    sent: list[int] = []

    class Link:
        async def post(self, _: str, body: str) -> Any:
            outcomes = json.loads(body)["outcomes"]
            sent.append(len(outcomes))
            if any(one.get("result") == "bad" for one in outcomes):
                return not_done("/x", 413, "", None)
            return {"outcomes": [{**one, "answer": "counted"} for one in outcomes]}

    async def run() -> None:
        settled: list[Any] = []
        finisher = Finisher(Link(), "me", settled.append)  # type: ignore[arg-type]
        for number, result in enumerate(['"good"', '"bad"', '"good"']):
            task = Claimed("j", 1, str(number), "n", "h", {}, 1, 30.0)
            finisher.add(task, Ended("completed", result=result))
        await finisher.drain(10)
        assert len(settled) == 3
        assert finisher.unsent == 0

    asyncio.run(run())
    assert sent == [3, 1, 1, 1, 1], "together, each alone, and the failure in place of the bad one"


def test_a_handler_is_tried_within_an_event_loop() -> None:
    worker = Worker()

    @worker.handler("async")
    async def handler(params: Any) -> Any:
        await asyncio.sleep(0)
        print("printed")
        return params

    async def run() -> None:
        outcome = worker.test("async", {"a": 1})
        assert outcome.result == {"a": 1}
        assert outcome.log_tail == "printed\n"

    asyncio.run(run())
