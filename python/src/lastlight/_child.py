"""The process in which handlers run, one after the other.

It gets tasks over a pipe of its own and answers over another; all that is printed, also by C code,
goes to a third. It knows neither the app nor the network. It ends when its worker ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import Any

from lastlight import _limits
from lastlight._channel import PIPE_IS_CLOSED, Channel
from lastlight._context import TaskContext
from lastlight._execute import execute
from lastlight._failure import message, type_name, whole_traceback
from lastlight._log_tail import RECORD_FORMAT
from lastlight._protocol import Claimed
from lastlight._target import Target

# Seconds between messages of progress.
_REPORT_EVERY = 0.2


class _Child:
    def __init__(self, channel: Channel, log: int) -> None:
        self._channel = channel
        self._log = log
        self._runs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._number = -1
        self._context: TaskContext | None = None
        self._cancelled = -1
        self._in_handler = False
        self._told_to_end = False
        self._report: list[Any] | None = None
        self._reported = 0.0
        self._has_report = threading.Event()

    def serve(self, setup: dict[str, Any]) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._report_later, daemon=True).start()
        with contextlib.suppress(ValueError, AttributeError):
            signal.signal(signal.SIGTERM, self._terminate)
        try:
            worker = Target(**setup["target"]).load()
        except BaseException as error:
            os.write(self._log, whole_traceback(error).encode())
            self._channel.send({"broken": f"{type_name(error)}: {message(error)}"})
            raise SystemExit(1) from None
        if not logging.getLogger().handlers:
            logging.basicConfig(level=setup["log_level"], format=RECORD_FORMAT, stream=sys.stderr)
        while not self._told_to_end and (run := self._runs.get()) is not None:
            self._run(worker._handlers[run["task"]["handler"]], run)

    def _run(self, handler: Any, run: dict[str, Any]) -> None:
        task = Claimed(**run["task"])
        context = TaskContext(task, run["timeout"], self._tell)
        with self._lock:
            self._number, self._context, self._report = run["number"], context, None
            context._cancelled = self._cancelled == run["number"]
        self._channel.send({"began": True})
        try:
            self._in_handler = True
            ended, trace = execute(handler, task, context, handler.memory_limit)
            self._in_handler = False
        except SystemExit:
            # SIGTERM came between the handler's end and the line after it.
            raise SystemExit(143) from None
        with self._lock:
            self._context = self._report = None
        self._flush(trace, run["mark"])
        retire = self._told_to_end or ended.error_type == "MemoryError"
        fields = {name: getattr(ended, name) for name in ended.__slots__}
        self._channel.send({"ended": fields, "retire": retire})

    def _flush(self, trace: str, mark: str) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        _limits.flush_c()
        # With the mark at its end the worker knows which attempt printed what.
        with contextlib.suppress(OSError):
            data = trace.encode() + mark.encode()
            while data:
                data = data[os.write(self._log, data) :]

    def _tell(self, fraction: float | None, said: str | None) -> None:
        with self._lock:
            before = self._report or [None, None]
            self._report = [
                before[0] if fraction is None else fraction,
                before[1] if said is None else said,
            ]
            if time.monotonic() - self._reported < _REPORT_EVERY:
                self._has_report.set()
                return
        self._send_report()

    def _report_later(self) -> None:
        while True:
            self._has_report.wait()
            time.sleep(_REPORT_EVERY)
            self._has_report.clear()
            self._send_report()

    def _send_report(self) -> None:
        with self._lock:
            report, self._report = self._report, None
            if report is None:
                return
            self._reported = time.monotonic()
            number = self._number
        with contextlib.suppress(OSError, ValueError):
            self._channel.send({"progress": report, "number": number})

    def _listen(self) -> None:
        while (frame := self._channel.receive()) is not None:
            if "run" in frame:
                self._runs.put(frame["run"])
            elif "cancel" in frame:
                with self._lock:
                    self._cancelled = frame["cancel"]
                    if self._context is not None and self._number == self._cancelled:
                        self._context._cancelled = True
            elif "terminate" in frame:
                with self._lock:
                    self._told_to_end = self._number == frame["terminate"]
                if self._told_to_end:
                    self._interrupt()
            elif "end" in frame:
                self._runs.put(None)
        if self._channel.is_broken:
            # The worker runs, but what it says is not heard any more.
            os._exit(PIPE_IS_CLOSED)
        # The worker has ended, and what it started must not go on.
        if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    def _interrupt(self) -> None:
        if hasattr(signal, "pthread_kill"):
            # To the thread of the handler, so that it does not go on waiting.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)

    def _terminate(self, *_: object) -> None:
        # A signal that comes from elsewhere, as from systemd to all processes of a service, is
        # for the worker, which gives its attempts a grace.
        if self._told_to_end and self._in_handler:
            # Once: the code that cleans up must not be interrupted in turn.
            self._in_handler = False
            raise SystemExit(143)


def main() -> None:
    """Serve the worker that started this process, over its standard streams."""
    reads, writes, log = os.dup(0), os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        # An order of lines that is that of the code, and no character that cannot be printed.
        stream.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
    Target.in_child = True
    faulthandler.enable(log)
    _limits.end_before_others()
    channel = Channel(os.fdopen(reads, "rb"), os.fdopen(writes, "wb", buffering=0))
    setup = channel.receive()
    if setup is None:
        os._exit(1)
    _limits.end_with_parent(setup["parent"])
    _Child(channel, log).serve(setup)
