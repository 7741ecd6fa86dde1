"""A process for handlers, as the worker sees it: started, fed, listened to and ended.

Two threads wait for it, one for its messages and one for what it prints, so that neither a slow
process nor one that prints much holds up the worker. It knows no other process and no app.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any

from lastlight._attempt import Attempt
from lastlight._channel import Channel
from lastlight._log_tail import LogTail
from lastlight._protocol import Ended

# Without `-m`: the process must find the package where this one does, wherever that is.
_COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from lastlight._child import main; main()"
)

# Seconds to wait for the rest of what an attempt printed.
_REST = 2.0


class Process:
    """A process that runs one attempt after the other.

    Args:
        setup: What the process must know at its start.
        echo: Whether what it prints is printed by this process, too.
        ended: Called in a thread with the process, an attempt, how that ended (None: the process
            ended before), and whether the process may be used again.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        echo: bool,
        ended: Callable[[Process, Attempt, Ended | None, bool], None],
    ) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, json.dumps(sys.path), "lastlight-handlers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C is for the worker, which gives its attempts a grace.
            start_new_session=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self._channel = Channel(self._popen.stdout, self._popen.stdin)
        self._log = _Log(self._popen.stderr, echo)
        self._setup = {**setup, "parent": os.getpid()}
        self._ended = ended
        self._next: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._number = 0
        self._reaping = threading.Lock()
        self.attempt: Attempt | None = None
        """What it runs; set by the pool."""
        self.broken: str | None = None
        """Why it could not be made ready."""
        self.terminate_at: float | None = None
        self.kill_at: float | None = None
        self.found_dead_at: float | None = None
        for work in (self._keep, self._log.read):
            threading.Thread(target=work, name=f"lastlight-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def return_code(self) -> int:
        """The code with which it ended, once it has ended: negative for a signal."""
        return self._popen.returncode if self._popen.returncode is not None else 0

    @property
    def runs(self) -> int:
        """Number of attempts that it was given."""
        return self._number

    def run(self, attempt: Attempt) -> None:
        """Run an attempt, once the process is ready."""
        self.attempt = attempt
        self._number += 1
        self._next.put(attempt)

    def tell_cancelled(self) -> None:
        """Let the context of the attempt say that it is cancelled."""
        self._send_soon({"cancel": self._number})

    def terminate(self) -> None:
        """Ask it to end the attempt, and itself: SIGTERM raises SystemExit in its handler."""
        self._send_soon({"terminate": self._number})

    def finish(self) -> None:
        """Let it end by itself, when it runs nothing."""
        self._next.put(None)

    def is_alive(self) -> bool:
        """Whether it has not ended. What it left behind stays until `kill`."""
        if self._popen.returncode is not None:
            return False
        if not hasattr(os, "waitid"):
            return self._popen.poll() is None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def kill(self) -> None:
        """End it and the processes that it started, at once."""
        with self._reaping, contextlib.suppress(OSError):
            # Once it is reaped, its id may be that of another process.
            if self._popen.returncode is None:
                if hasattr(os, "killpg"):
                    os.killpg(self.pid, signal.SIGKILL)
                self._popen.kill()

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, and free what it used; false if it has not ended."""
        until = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > until:
                return False
            time.sleep(0.005)
        self.kill()
        with self._reaping:
            self._popen.wait()
        return True

    def _send_soon(self, frame: dict[str, Any]) -> None:
        def send() -> None:
            with contextlib.suppress(OSError, ValueError):
                self._channel.send(frame)

        # A process that hangs may not read, and the caller must not wait for it.
        threading.Thread(target=send, daemon=True).start()

    def _keep(self) -> None:
        usable = True
        with contextlib.suppress(OSError, ValueError):
            self._channel.send(self._setup)
        while usable and (attempt := self._next.get()) is not None:
            ended, usable = self._run(attempt)
            if not usable:
                self._close()
            if ended is None:
                self._log.finished.wait(_REST)
            self._ended(self, attempt, ended, usable)
        if usable:
            self._close()

    def _run(self, attempt: Attempt) -> tuple[Ended | None, bool]:
        mark = f"\0{secrets.token_hex(16)}\0"
        marked = self._log.begin(attempt.tail, mark.encode())
        # The name of each field of a task is that of its class.
        run = {
            "task": asdict(attempt.task),
            "timeout": attempt.timeout,
            "mark": mark,
            "number": self._number,
        }
        with contextlib.suppress(OSError, ValueError):
            self._channel.send({"run": run})
        while (frame := self._channel.receive()) is not None:
            if "progress" in frame and frame.get("number") == run["number"]:
                attempt.tell(*frame["progress"])
            elif "began" in frame:
                attempt.began = time.monotonic()
            elif "broken" in frame:
                self.broken = str(frame["broken"])
            elif "ended" in frame:
                marked.wait(_REST)
                return Ended(**frame["ended"]), not frame["retire"]
        return None, False

    def _close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._channel.send({"end": True})
        # An answer that nobody can read means a process that cannot be used.
        if not self.wait(_REST):
            self.kill()
            self.wait(_REST)
        self._log.finished.wait(_REST)
        if self._popen.returncode is not None:
            self._channel.close()


class _Log:
    """What a process prints, given to the tail of the attempt that it runs."""

    def __init__(self, pipe: IO[bytes], echo: bool) -> None:
        self._pipe = pipe
        self._echo = echo
        self._lock = threading.Lock()
        self._tail: LogTail | None = None
        self._mark = b""
        self._marked = threading.Event()
        self._held = b""
        self.finished = threading.Event()

    def begin(self, tail: LogTail, mark: bytes) -> threading.Event:
        """Give the tail what comes until the mark; the event is set at the mark."""
        with self._lock:
            self._tail, self._mark, self._marked = tail, mark, threading.Event()
            return self._marked

    def read(self) -> None:
        """Read until the process and all that it started have closed the pipe."""
        try:
            while chunk := os.read(self._pipe.fileno(), 65536):
                with self._lock:
                    self._take(self._held + chunk)
            with self._lock:
                self._write(self._held)
        except OSError:
            pass
        finally:
            self.finished.set()
            self._pipe.close()

    def _take(self, data: bytes) -> None:
        found = data.find(self._mark) if self._mark else -1
        if found >= 0:
            self._write(data[:found])
            data = data[found + len(self._mark) :]
            self._tail, self._mark = None, b""
            self._marked.set()
        # The mark may come in two pieces.
        held = 0
        if self._mark:
            for length in range(min(len(self._mark) - 1, len(data)), 0, -1):
                if self._mark.startswith(data[-length:]):
                    held = length
                    break
        self._write(data[: len(data) - held])
        self._held = data[len(data) - held :]

    def _write(self, data: bytes) -> None:
        if self._tail is not None:
            self._tail.write(data)
        if self._echo and data:
            with contextlib.suppress(OSError, ValueError):
                os.write(2, data)
