"""Handlers as they are registered, and how they are called.

It knows neither the app nor processes; what an attempt may use is in `_limits`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lastlight._context import TaskContext
from lastlight._limits import parse_size

Isolation = Literal["process", "thread"]

#: A handler takes the parameters, and may take the context.
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Handler:
    """A function under its name, with its limits."""

    name: str
    function: Function
    isolation: Isolation
    timeout: float | None
    """Seconds."""
    memory_limit: int | None
    """Bytes."""
    takes_context: bool
    is_async: bool

    @classmethod
    def of(
        cls,
        name: str,
        function: Function,
        isolation: str,
        timeout: float | None,
        memory_limit: int | str | None,
    ) -> Handler:
        """Check the options of a handler.

        Raises:
            TypeError: The function takes neither one nor two arguments.
            ValueError: An option is wrong.
        """
        if not (isinstance(name, str) and 1 <= len(name) <= 100 and name.isprintable()):
            raise ValueError(f"a handler's name must have 1 to 100 printable characters: {name!r}")
        if isolation not in ("process", "thread"):
            raise ValueError(f"isolation must be 'process' or 'thread': {isolation!r}")
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout must be a number of seconds above 0: {timeout!r}")
        if memory_limit is not None and isolation == "thread":
            raise ValueError("memory_limit needs isolation='process': threads share their memory")
        return cls(
            name=name,
            function=function,
            isolation="process" if isolation == "process" else "thread",
            timeout=timeout,
            memory_limit=None if memory_limit is None else parse_size(memory_limit),
            takes_context=_takes_context(name, function),
            is_async=inspect.iscoroutinefunction(function),
        )

    def call(self, params: Any, context: TaskContext) -> Any:
        """Call the function; what an async function returns must be awaited."""
        return self.function(params, context) if self.takes_context else self.function(params)


def _takes_context(name: str, function: Function) -> bool:
    if not callable(function):
        raise TypeError(f"the handler {name!r} is no function: {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some functions of C modules do not tell what they take.
        return False
    for arguments, takes in (((None, None), True), ((None,), False)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return takes
    raise TypeError(
        f"the handler {name!r} must take (params) or (params, context), not {signature}"
    )
