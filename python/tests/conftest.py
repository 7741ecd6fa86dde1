"""A local cloud for all tests: the real app, with its database and queues, on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_cloud import cloud
from odd_cases import CASES
from worker_process import EXAMPLES, TUTORIAL

from lastlight import Client

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
    "tiles": """
workflow: tiles
parameters: {tiles: {type: list, required: true}, folder: {type: str, required: true}}
nodes:
  tiles:
    type: fan_out
    source: params.tiles
    queue: odd
    task:
      handler: tile
      params: {tile: "{{ item }}", folder: "{{ inputs.folder }}"}
      retry: {max_attempts: 1}
  made: {type: fan_in, depends_on: [tiles]}
  last: {type: task, handler: echo, depends_on: [made], receives: {tiles: made.items}}
""",
    "stubborn_tiles": """
workflow: stubborn_tiles
parameters: {tiles: {type: list, required: true}, folder: {type: str, required: true}}
nodes:
  tiles:
    type: fan_out
    source: params.tiles
    queue: odd
    task:
      handler: tile
      params: {tile: "{{ item }}", folder: "{{ inputs.folder }}"}
      retry: {max_attempts: 10, initial_delay_seconds: 1}
""",
    "cleans_up": """
workflow: cleans_up
parameters: {path: {type: str, required: true}, cleaned: {type: str, required: true}}
nodes:
  only: {type: task, handler: cleans_up, queue: odd, params: [path, cleaned]}
""",
    "unserved": """
workflow: unserved
parameters: {label: {type: str, required: true}}
nodes:
  only: {type: task, handler: nobody_has_this, queue: nobody}
""",
    # With a node for each of the odd cases.
    "odd": """
workflow: odd
parameters: {siblings: {type: list, required: true}}
nodes:
  siblings:
    type: fan_out
    source: params.siblings
    queue: odd
    task: {handler: seen, params: {number: "{{ item }}"}, retry: {max_attempts: 1}}
  prints: {type: task, handler: print, constants: {megabytes: 100}, queue: odd}
""",
}


def _odd() -> str:
    nodes = {
        name: {
            "type": "task",
            "handler": case.handler,
            "constants": case.params,
            "queue": "odd",
            "best_effort": True,
            "retry": {"max_attempts": 1},
            **({"timeout_seconds": case.timeout_seconds} if case.timeout_seconds else {}),
        }
        for name, case in CASES.items()
    }
    # JSON is YAML.
    return _WORKFLOWS["odd"] + "".join(f"  {name}: {json.dumps(nodes[name])}\n" for name in nodes)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a local cloud with the workflows of all tests."""
    workflows = {**_WORKFLOWS, "odd": _odd()}
    for file in (EXAMPLES / "raster.yaml", TUTORIAL / "primes.yaml"):
        workflows[file.stem] = file.read_text()
    with cloud(tmp_path_factory.mktemp("cloud"), workflows) as url:
        yield url


@pytest.fixture
def url_of_short_leases(tmp_path: Path) -> Iterator[str]:
    """Return the address of a local cloud where the task of a dead worker is soon another's."""
    folder = tmp_path / "short"
    folder.mkdir()
    with cloud(folder, _WORKFLOWS, "LASTLIGHT_LEASE_SECONDS=2") as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """Return a client of the local cloud."""
    with Client(url) as client:
        yield client
