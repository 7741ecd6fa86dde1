"""A worker whose handlers do what handlers should not, for tests of what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import datetime
import decimal
import json
import logging
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from lastlight import Permanent, Retry, TaskContext, Worker

worker = Worker()


def _write(path: str, value: Any) -> None:
    partial = pathlib.Path(f"{path}.part")
    partial.write_text(json.dumps(value))
    partial.rename(path)


@worker.handler("echo")
def echo(params: Any) -> Any:
    return {"echo": params, "pid": os.getpid()}


@worker.handler("seen")
async def seen(params: Any, context: TaskContext) -> Any:
    await asyncio.sleep(0)
    return {
        "params": params,
        "job_id": context.job_id,
        "stage": context.stage,
        "node": context.node,
        "attempt": context.attempt,
        "before": context.predecessor_result,
        "remaining": context.remaining,
    }


@worker.handler("raise")
def raise_(params: Any) -> None:
    raise ValueError("a\0b \ud800 " + "x" * params.get("length", 0))


@worker.handler("raise_own")
def raise_own(_: Any) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle")

    raise Unreadable from KeyError("the cause")


@worker.handler("retry")
def retry(_: Any) -> None:
    raise Retry("the service is busy", after=30)


@worker.handler("permanent")
def permanent(_: Any) -> None:
    class NoSuchBand(Permanent):
        pass

    raise NoSuchBand("there is no band 7")


@worker.handler("exit")
def exit_(_: Any) -> None:
    sys.exit("enough")


@worker.handler("recurse")
def recurse(params: Any) -> None:
    recurse(params)


@worker.handler("own_failure")
def own_failure(_: Any) -> Any:
    return {"success": False, "error": "no CRS", "error_type": "ValidationError"}


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _circle() -> Any:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    return circle


VALUES: dict[str, Any] = {
    "nan": {"bands": [1, 2, math.nan]},
    "bytes": {"raw": b"x"},
    "set": {"ids": {1, 2}},
    "large": "x" * (2 * 1024 * 1024),
    "largest": "é" * ((1024 * 1024 - 2) // 2),
    "circle": _circle(),
    "deep": _deep(65),
    "very_deep": _deep(50_000),
    "deepest": _deep(64),
    "surrogate": {"text": "\ud800"},
    "object": object(),
    "decimal": decimal.Decimal("0.1"),
    "huge_number": 10**5000,
    "dates": [datetime.date(2026, 11, 30), pathlib.PurePosixPath("a/b"), (1, 2)],
    "none": None,
}


@worker.handler("return")
def return_(params: Any) -> Any:
    return VALUES[params["value"]]


@worker.handler("segfault")
def segfault(_: Any) -> None:
    print("before the end", flush=True)
    ctypes.string_at(0)


@worker.handler("os_exit")
def os_exit(params: Any) -> None:
    os._exit(params["code"])


@worker.handler("abort")
def abort(_: Any) -> None:
    os.abort()


@worker.handler("close_all")
def close_all(_: Any) -> None:
    os.closerange(0, 1000)


@worker.handler("allocate", memory_limit="200MiB")
def allocate(params: Any) -> None:
    kept = []
    while True:
        # Fewer bytes at once, so that the worker sees it before the system refuses.
        kept.append(bytearray(params["bytes"]))
        time.sleep(params["pause"])


@worker.handler("sleep", timeout=1.0)
def sleep(_: Any) -> None:
    time.sleep(3600)


@worker.handler("sleep_long")
def sleep_long(_: Any) -> None:
    time.sleep(3600)


@worker.handler("tile")
def tile(params: Any, context: TaskContext) -> Any:
    number, folder = params["tile"], pathlib.Path(params["folder"])

    def note(text: str) -> None:
        with (folder / f"tile-{number}").open("a") as file:
            file.write(f"{text}\n")

    print(f"reads tile {number}")
    context.progress(0.25, "reading")
    note(f"began in {os.getpid()}")
    while not (folder / f"go-{number}").exists():
        time.sleep(0.01)
    note("ended")
    return {"tile": number}


@worker.handler("stubborn")
def stubborn(params: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _write(params["path"], os.getpid())
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(3600)


@worker.handler("holds_interpreter")
def holds_interpreter(params: Any) -> None:
    _write(params["path"], os.getpid())
    # C code that keeps Python's lock: no other thread of the process runs, nor a signal's handler.
    ctypes.PyDLL(None).sleep(3600)


@worker.handler("cleans_up")
def cleans_up(params: Any) -> None:
    try:
        _write(params["path"], os.getpid())
        time.sleep(3600)
    finally:
        _write(params["cleaned"], True)


@worker.handler("starts_program")
def starts_program(params: Any) -> None:
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    _write(params["path"], [os.getpid(), program.pid])
    program.wait()


@worker.handler("leaves_program")
def leaves_program(params: Any) -> None:
    # It holds the pipes of the process open.
    pid = os.fork()
    if pid == 0:
        if params["leaves_session"]:
            os.setsid()
        time.sleep(3600)
    _write(params["path"], [os.getpid(), pid])
    os._exit(3)


@worker.handler("watches")
def watches(params: Any, context: TaskContext) -> None:
    _write(params["path"], os.getpid())
    while not context.cancelled:
        time.sleep(0.01)
    _write(params["cancelled"], True)


@worker.handler("progress")
def progress(params: Any, context: TaskContext) -> str:
    for number in range(10_000):
        context.progress(number / 20_000, f"line {number}")
    context.progress(0.75, "reading")
    while not pathlib.Path(params["go_on"]).exists():
        time.sleep(0.01)
    return "done"


@worker.handler("print")
def print_(params: Any) -> int:
    print("the first line")
    line = "x" * 9_999
    for _ in range(params["megabytes"] * 100):
        print(line)
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").warning("a record")
    ctypes.CDLL(None).puts(b"from C")
    os.write(1, b"\xff\x00 raw bytes\n")
    print("the last line")
    return os.getpid()


@worker.handler("trace")
def trace(_: Any) -> Any:
    from opentelemetry import trace as opentelemetry

    return f"{opentelemetry.get_current_span().get_span_context().trace_id:032x}"


@worker.handler("in_thread", isolation="thread")
def in_thread(params: Any, context: TaskContext) -> Any:
    print("printed in a thread")
    logging.getLogger("mine").warning("logged in a thread")
    context.progress(0.5)
    if "fail" in params:
        raise LookupError(params["fail"])
    return [threading.current_thread().name, params]


@worker.handler("thread_waits", isolation="thread")
def thread_waits(params: Any) -> None:
    while not pathlib.Path(params["go_on"]).exists():
        time.sleep(0.01)


@worker.handler("on_loop", isolation="thread")
async def on_loop(params: Any) -> Any:
    print("printed in the loop")
    await asyncio.sleep(params["seconds"])
    return threading.current_thread() is threading.main_thread()
