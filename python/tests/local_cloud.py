"""The real app, with its database and queues, on this machine, and what tests ask of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from lastlight import Client, Job

_ROOT = Path(__file__).parents[2]
BINARY = os.environ.get("LASTLIGHT_BINARY", str(_ROOT / "target/debug/lastlight"))


@contextlib.contextmanager
def cloud(folder: Path, workflows: dict[str, str], *settings: str) -> Iterator[str]:
    """Run a local cloud with these workflows and settings, and give its address."""
    files = folder / "workflows"
    files.mkdir()
    for name, text in workflows.items():
        (files / f"{name}.yaml").write_text(text)
    command = [BINARY, "local", "--json", "--port", "0", "--app-root", str(_ROOT)]
    command += ["--data", str(folder / "data")]
    for setting in (f"LASTLIGHT_WORKFLOWS={files}", *settings):
        command += ["--setting", setting]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "log").read_text()
        try:
            yield json.loads(line)["url"]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def submit(client: Client, job_type: str, **parameters: Any) -> Job:
    """Submit a job; a worker that serves its handlers may come later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return client.submit(job_type, **parameters)


def get(url: str, path: str) -> Any:
    """Return what the app answers."""
    answer = httpx.get(f"{url}/api/{path}", timeout=60)
    answer.raise_for_status()
    return answer.json()


def details(url: str, job_id: str, task_id: str) -> Any:
    """Return a task with the end of its log."""
    return get(url, f"db/tasks/{job_id}/{task_id}")


def sweep(url: str) -> None:
    """Run the sweep that finds lost work, which otherwise runs every minute."""
    httpx.post(f"{url}/admin/functions/reconcile", json={}, timeout=60).raise_for_status()
