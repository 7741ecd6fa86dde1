"""A worker as its users start it: the command, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_app

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
TUTORIAL = HERE.parents[1] / "docs/tutorial"


class WorkerProcess:
    """A worker that runs, and what it logs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def said(self) -> str:
        """What it logged so far."""
        return self.log.read_text(errors="replace")

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def code(self) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def started(
    url: str,
    folder: Path,
    *arguments: str,
    key: str | None = fake_app.KEY,
    worker: str = "odd_handlers:worker",
    cwd: Path = HERE,
) -> Iterator[WorkerProcess]:
    """Start a worker; it is ended in the end."""
    environment = {**os.environ, "LASTLIGHT_URL": url}
    environment.pop("LASTLIGHT_KEY", None)
    if key is not None:
        environment["LASTLIGHT_KEY"] = key
    command = [sys.executable, "-m", "lastlight._cli", worker, *arguments]
    log = folder / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=output)
    running = WorkerProcess(process, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        sys.stdout.write(running.said)


def exists(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    fake_app.until(lambda: not exists(pid), f"the end of process {pid}")
