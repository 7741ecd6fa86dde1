"""What handlers do wrong, and what is said of it: by the worker, and in the end by the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A handler of `odd_handlers` that fails."""

    handler: str
    words: str
    """A part of the reason."""
    error_type: str
    params: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int | None = None


_NO_JSON = {
    "nan": "result.bands[2] is nan",
    "bytes": "result.raw is a bytes",
    "set": "result.ids is a set",
    "large": "the result is too large: 2.0 MiB of JSON, and at most 1.0 MiB",
    "circle": "is nested too deep, or contains itself",
    "deep": "is nested too deep",
    "very_deep": "is nested too deep",
    "surrogate": "result.text has half of a character",
    "object": "result is a object",
    "decimal": "result is a decimal.Decimal",
    "huge_number": "result is a whole number with more than 308 digits",
}

#: By a name that a node of a workflow may have.
CASES = {
    "segfault": Case("segfault", "SIGSEGV (Segmentation fault)", "ProcessDied"),
    "os_exit": Case("os_exit", "exit code 0", "ProcessDied", {"code": 0}),
    "os_exit_1": Case("os_exit", "exit code 1", "ProcessDied", {"code": 1}),
    "abort": Case("abort", "SIGABRT", "ProcessDied"),
    "close_all": Case("close_all", "exit code", "ProcessDied"),
    "late": Case("sleep_long", "longer than its timeout of 1 seconds", "TimeoutError", {}, 1),
    "memory": Case(
        "allocate",
        "out of memory: the handler's limit is 200.0 MiB",
        "MemoryError",
        {"bytes": 10**10, "pause": 0.0},
    ),
    "raise": Case("raise", "a\ufffdb \ufffd", "ValueError"),
    "raise_own": Case("raise_own", "cannot be had", "odd_handlers.raise_own.<locals>.Unreadable"),
    "huge_message": Case("raise", "at raise_", "ValueError", {"length": 50_000_000}),
    "recurse": Case("recurse", "maximum recursion depth", "RecursionError"),
    "exit": Case("exit", "sys.exit(enough)", "SystemExit"),
    "own_failure": Case("own_failure", "no CRS", "ValidationError"),
    "permanent": Case("permanent", "there is no band 7", "Permanent"),
    **{
        name: Case("return", words, "Permanent", {"value": name})
        for name, words in _NO_JSON.items()
    },
}
