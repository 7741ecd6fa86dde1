"""A local cloud for all tests: the real app, with its database and queues, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastlight import Client

_ROOT = Path(__file__).parents[2]

_WORKFLOWS = {
    "approved": """
workflow: approved
parameters: {number: {type: int, required: true}, rate: {type: float}, when: {type: str}}
nodes:
  first: {type: task, handler: echo, params: [number]}
  ask: {type: gate, depends_on: [first]}
  last: {type: task, handler: echo, depends_on: [ask], receives: {by: ask.by, note: ask.result}}
""",
    "wrong": """
workflow: wrong
parameters: {label: {type: str, required: true}}
nodes:
  only: {type: task, handler: fail, constants: {message: it is broken, kind: permanent}}
""",
    "long": """
workflow: long
parameters: {label: {type: str, required: true}}
nodes:
  only: {type: task, handler: sleep, constants: {seconds: 3600}}
""",
}


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a local cloud with the workflows above."""
    folder = tmp_path_factory.mktemp("cloud")
    workflows = folder / "workflows"
    workflows.mkdir()
    for name, text in _WORKFLOWS.items():
        (workflows / f"{name}.yaml").write_text(text)
    binary = os.environ.get("LASTLIGHT_BINARY", str(_ROOT / "target/debug/lastlight"))
    command = [binary, "local", "--json", "--port", "0", "--app-root", str(_ROOT)]
    command += ["--data", str(folder / "data"), "--setting", f"LASTLIGHT_WORKFLOWS={workflows}"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as cloud,
    ):
        assert cloud.stdout is not None
        line = cloud.stdout.readline()
        assert line, (folder / "log").read_text()
        yield json.loads(line)["url"]
        cloud.send_signal(signal.SIGINT)
        cloud.communicate(timeout=60)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """Return a client of the local cloud."""
    with Client(url) as client:
        yield client
