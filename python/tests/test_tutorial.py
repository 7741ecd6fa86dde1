"""The tutorial for workers shows its files as they are, and its job counts primes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from local_cloud import BINARY, submit
from worker_process import TUTORIAL, started

from lastlight import Client

_TEXT = (TUTORIAL.parent / "WORKER_TUTORIAL.md").read_text()
_CODE = (TUTORIAL / "primes.py").read_text()
_WORKFLOW = (TUTORIAL / "primes.yaml").read_text()


def _blocks(language: str) -> list[str]:
    """Return the blocks of the text in a language; "" for blocks without one."""
    inside = re.findall(r"^```(\w*)\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)
    return [block for named, block in inside if named == language]


def test_the_tutorial_shows_its_files() -> None:
    assert _blocks("yaml") == [_WORKFLOW]
    shown = _blocks("python")
    assert len(shown) == 2
    for block in shown:
        assert block in _CODE


def test_the_tutorial_tries_a_handler(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_CODE)
    (command,) = (block for block in _blocks("sh") if "worker.test" in block)
    code = command.removeprefix('python -c "').removesuffix('"\n')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout in _blocks("")


def test_the_tutorial_shows_what_check_prints(tmp_path: Path) -> None:
    workflows = tmp_path / "workflows"
    workflows.mkdir()
    (workflows / "primes.yaml").write_text(_WORKFLOW)
    command = [BINARY, "workflow", "check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout in _blocks("")


def test_the_job_of_the_tutorial_counts_primes(url: str, client: Client, tmp_path: Path) -> None:
    with started(url, tmp_path, worker="primes:worker", cwd=TUTORIAL):
        job = submit(client, "primes", below=100_000).wait(timeout=300)
        wrong = submit(client, "primes", below=3, pieces=5).wait(timeout=300)
    assert job.result()["summaries"]["report"]["result"] == {"primes": 9592}
    assert len(list(job.tasks(stage=2))) == 20
    (split,) = wrong.tasks(stage=1)
    assert split.attempt == 1
    assert split.error is not None
    assert split.error.startswith("Permanent: pieces must be 1 to 3, not 5")
