"""What a process may use: memory, and its end with the process that started it.

It knows no tasks. Linux has all of it; where a system has no such limit, nothing is limited.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]

_IS_LINUX = sys.platform.startswith("linux")

_UNITS = {"": 1, "K": 1, "M": 2, "G": 3, "T": 4}

# Address space beside the memory that a handler may use: stacks and arenas of threads reserve it
# without using it.
_RESERVED = 256 * 1024 * 1024

_PR_SET_PDEATHSIG = 1


def parse_size(size: int | str) -> int:
    """Return a number of bytes, of a number or a text such as `512MiB`, `1.5 GB` or `2GiB`.

    Raises:
        ValueError: It is neither, or not above 0.
    """
    if isinstance(size, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT]?)(i?)B?)?\s*", size, re.IGNORECASE)
        if found is not None:
            number, unit, binary = found.groups()
            power = _UNITS[(unit or "").upper()]
            factor = 1 if not unit else (1024 if binary else 1000) ** power
            size = int(float(number) * factor)
    if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        raise ValueError(f"a size must be bytes above 0, or text such as '2GiB': {size!r}")
    return size


def human(size: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


@contextlib.contextmanager
def limited_memory(limit: int | None) -> Iterator[None]:
    """Let this process map no more memory than it has mapped, and `limit` bytes.

    Within it, Python raises MemoryError beyond that, and C code gets no memory.
    """
    mapped = _field(os.getpid(), "VmSize") if limit is not None else None
    if limit is None or mapped is None or resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = mapped + limit + _RESERVED
    bounds = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *bounds]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def used_memory(pid: int) -> int | None:
    """Return the bytes of memory that a process and its descendants use; None if unknown.

    Pages of files do not count: the system takes them back when it needs memory.
    """
    if not _IS_LINUX:
        return None
    total, found, waiting, seen = 0, False, [pid], {pid}
    while waiting:
        one = waiting.pop()
        anonymous = _field(one, "RssAnon")
        if anonymous is not None:
            found = True
            total += anonymous + (_field(one, "RssShmem") or 0)
        for child in _children(one):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return total if found else None


def _field(pid: int, name: str) -> int | None:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as children:
                found.extend(int(child) for child in children.read().split())
    except (OSError, ValueError):
        pass
    return found


def end_with_parent(parent: int) -> None:
    """Let the system kill this process when the thread that started it ends. Linux only."""
    if not _IS_LINUX:
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It ended before.
        os._exit(1)


def end_before_others() -> None:
    """Let a system that runs out of memory end this process rather than the worker. Linux only."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("500")


def flush_c() -> None:
    """Write out what C code printed and its library holds back."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)


def why_it_ended(code: int) -> str:
    """Say how a process ended, of its return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return f"{name} ({signal.strsignal(-code)})"
