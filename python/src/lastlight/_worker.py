"""The worker as its users write it: handlers by name, and how to run them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from lastlight import _steps
from lastlight._context import TaskContext
from lastlight._execute import execute
from lastlight._handlers import Function, Handler, Isolation
from lastlight._json import dumps
from lastlight._link import Link
from lastlight._log_tail import Capture, LogTail, current_tail
from lastlight._protocol import Claimed, Ended
from lastlight._runner import Runner
from lastlight._target import Target

F = TypeVar("F", bound=Function)

_LONGEST_QUEUE = 50
_LONGEST_ID = 100
_MOST_HANDLERS = 100

#: The queue of tasks whose workflow names none.
DEFAULT_QUEUE = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended that `Worker.test` made."""

    outcome: Literal["completed", "failed", "retry", "released"]
    result: Any
    """As the app would read it, from JSON."""
    error: str | None
    error_type: str | None
    retry_after: float | None
    """Seconds."""
    log_tail: str
    """What the handler printed and logged, at most 64 KiB."""
    progress: tuple[tuple[float | None, str | None], ...]
    """What the handler told of its progress, in order."""


class Worker:
    """Handlers, and the queue whose tasks they run.

    Keep it in a variable at the top of a module, so that processes for handlers find it, and run it
    with `lastlight-worker my.module:worker`, or with `run`.

    Args:
        queue: The queue, 1 to 50 characters.
        url: The app's address; without it, LASTLIGHT_URL, or that of `lastlight local`.
        key: A key of the app; without it, the variable LASTLIGHT_KEY.

    Raises:
        ValueError: The queue's name is empty or too long.
    """

    def __init__(
        self, queue: str = DEFAULT_QUEUE, *, url: str | None = None, key: str | None = None
    ) -> None:
        self.queue = _checked("queue", queue, _LONGEST_QUEUE)
        self.url = url
        self._key = key
        self._handlers: dict[str, Handler] = {}
        self._module: str = sys._getframe(1).f_globals.get("__name__", "__main__")
        self._target: Target | None = None
        self._runner: Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"Worker(queue={self.queue!r}, handlers={sorted(self._handlers)})"

    @property
    def handlers(self) -> tuple[str, ...]:
        """The names of the handlers, sorted."""
        return tuple(sorted(self._handlers))

    def handler(
        self,
        name: str,
        *,
        isolation: Isolation = "process",
        timeout: float | None = None,
        memory_limit: int | str | None = None,
    ) -> Callable[[F], F]:
        """Register a function, `def` or `async def`, that takes (params) or (params, context).

        What it returns is the result: any JSON value of at most 1 MiB and 64 levels. It may also be
        `{"success": True, …}`, or `{"success": False, "error": …, "error_type": …}`. An exception
        fails the attempt, and the job's retry policy decides what follows; `Retry` asks for another
        attempt, and `Permanent` for none.

        Args:
            name: The name by which workflows and job types name the handler.
            isolation: `process` runs it in a process of its own, which can be ended; `thread` runs
                it in a thread of the worker, for short handlers. A thread cannot be ended: one
                that is late or cancelled keeps its slot until it returns.
            timeout: The most seconds of an attempt. A shorter timeout of the task counts.
            memory_limit: The most memory of its process, in bytes or as `"2GiB"`.

        Raises:
            TypeError: The function takes other arguments.
            ValueError: An option is wrong, or the name is taken.
        """

        def register(function: F) -> F:
            if name in self._handlers:
                raise ValueError(f"there are two handlers with the name {name!r}")
            if len(self._handlers) >= _MOST_HANDLERS:
                raise ValueError(f"a worker has at most {_MOST_HANDLERS} handlers")
            made = Handler.of(name, function, isolation, timeout, memory_limit)
            self._handlers[name] = made
            return function

        return register

    def run(
        self,
        *,
        concurrency: int | None = None,
        queue: str | None = None,
        url: str | None = None,
        grace: float = 25.0,
        worker_id: str | None = None,
        echo: bool = False,
    ) -> None:
        """Claim tasks and run them, until SIGTERM, SIGINT or `stop`.

        In a script, call it below `if __name__ == "__main__":`, since processes for handlers import
        the script again.

        Args:
            concurrency: The most attempts at once; without it, the number of processors.
            queue: Another queue than the worker's.
            url: Another address than the worker's.
            grace: Seconds that running attempts get when it stops. Those that have not ended then
                are ended and released: they run again elsewhere, and the attempt does not count.
                A second signal ends them at once.
            worker_id: What names this worker in the app, 1 to 100 characters; without it, made of
                the machine's name.
            echo: Whether what handlers print is printed by this process, too.

        Raises:
            LastlightError: It cannot work: the app refuses the key, the address is not that of an
                app, the worker cannot be found by processes, or these do not start.
            ValueError: An argument is wrong, or there are no handlers.
        """
        if Target.in_child:
            raise RuntimeError('call worker.run() below `if __name__ == "__main__":`')
        options = _Options(
            concurrency=processors() if concurrency is None else concurrency,
            queue=_checked("queue", queue or self.queue, _LONGEST_QUEUE),
            url=url or self.url,
            grace=grace,
            worker_id=_checked("worker_id", worker_id or _made_id(), _LONGEST_ID),
            echo=echo,
        )
        options.check()
        if not self._handlers:
            raise ValueError("the worker has no handlers: register some with @worker.handler(name)")
        needs_processes = any(one.isolation == "process" for one in self._handlers.values())
        target = self._target or (Target.of(self) if needs_processes else None)
        setup = {
            "target": target and target.as_json(),
            "log_level": logging.getLogger().getEffectiveLevel(),
        }
        asyncio.run(self._run(options, setup))

    def stop(self) -> None:
        """Stop a run, from any thread: as SIGTERM does, and as a second one if called again."""
        loop, runner = self._loop, self._runner
        if loop is not None and runner is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(runner.stop)

    async def _run(self, options: _Options, setup: dict[str, Any]) -> None:
        has_threads = any(one.isolation == "thread" for one in self._handlers.values())
        async with Link(options.url, self._key) as link:
            runner = Runner(
                link,
                self._handlers,
                options.queue,
                options.worker_id,
                options.concurrency,
                options.grace,
                setup,
                options.echo,
            )
            self._loop, self._runner = asyncio.get_running_loop(), runner
            logging.getLogger("lastlight").info(
                "worker %s: queue %r, %d slots, handlers %s, app %s",
                *(options.worker_id, options.queue, options.concurrency),
                *(", ".join(self.handlers), link.url),
            )
            capture = Capture(options.echo) if has_threads else contextlib.nullcontext()
            try:
                with _signals(runner.stop), capture:
                    await runner.run()
            finally:
                self._loop = self._runner = None

    def test(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        predecessor_result: Any = None,
        attempt: int = 1,
    ) -> Outcome:
        """Run a handler here and now, for tests of the handler: without an app and a process.

        Its parameters and its result are turned into JSON and back, as on their way from and to the
        app. Timeouts and memory limits are not applied.

        Args:
            name: The handler's name.
            params: Its parameters.
            predecessor_result: The result that the context has.
            attempt: The number of the attempt that the context has, from 1.

        Raises:
            KeyError: There is no such handler.
            NotJson: A parameter is no JSON.
        """
        handler = self._handlers[name]
        task = Claimed(
            job_id="test",
            stage=1,
            task_id="test",
            node="test",
            handler=name,
            params=json.loads(dumps(params or {}, "params")),
            attempt=attempt,
            lease_seconds=60.0,
            predecessor_result=json.loads(dumps(predecessor_result, "predecessor_result")),
        )
        told: list[tuple[float | None, str | None]] = []
        context = TaskContext(task, handler.timeout, lambda part, said: told.append((part, said)))
        tail = LogTail()
        with Capture(echo=False):
            token = current_tail.set(tail)
            try:
                ended, trace = _execute_here(handler, task, context)
            finally:
                current_tail.reset(token)
        tail.write(trace.encode())
        return Outcome(
            outcome=ended.kind,
            result=None if ended.result is None else json.loads(ended.result),
            error=ended.error,
            error_type=ended.error_type,
            retry_after=ended.retry_after,
            log_tail=tail.text(),
            progress=tuple(told),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Options:
    concurrency: int
    queue: str
    url: str | None
    grace: float
    worker_id: str
    echo: bool

    def check(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"concurrency must be 1 or more: {self.concurrency}")
        if not 0 <= self.grace < float("inf"):
            raise ValueError(f"grace must be a number of seconds, 0 or more: {self.grace}")
        _steps.address(self.url)


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _made_id() -> str:
    return f"{socket.gethostname()[:60] or 'worker'}-{os.getpid()}-{secrets.token_hex(3)}"


def _checked(name: str, value: str, longest: int) -> str:
    if not (1 <= len(value) <= longest and value.isprintable()):
        raise ValueError(f"{name} must have 1 to {longest} printable characters: {value!r:.120}")
    return value


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop at SIGTERM and SIGINT, where this is the thread that gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}
    number: int
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, lambda *_: _call(loop, stop))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _execute_here(handler: Handler, task: Claimed, context: TaskContext) -> tuple[Ended, str]:
    run = functools.partial(execute, handler, task, context, propagate=(KeyboardInterrupt,))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    # A thread with a running event loop, as in a test that is async, cannot run another.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(contextvars.copy_context().run, run).result()


def _call(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(stop)
