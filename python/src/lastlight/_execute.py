"""Runs a handler for one attempt, and says how the attempt ended.

It knows neither the app nor which process or thread it is in.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Mapping
from typing import Any

from lastlight._context import TaskContext
from lastlight._errors import NotJson, Retry
from lastlight._failure import LONGEST_ERROR, clean, cut, describe, message, type_name
from lastlight._failure import whole_traceback as traceback_of
from lastlight._handlers import Handler
from lastlight._json import dumps
from lastlight._limits import human, limited_memory
from lastlight._protocol import DEEPEST_RESULT, LARGEST_RESULT, LONGEST_PAUSE, Claimed, Ended
from lastlight._tracing import within


def execute(
    handler: Handler,
    task: Claimed,
    context: TaskContext,
    memory_limit: int | None = None,
    propagate: tuple[type[BaseException], ...] = (),
) -> tuple[Ended, str]:
    """Run a handler in this thread; return how it ended, and the traceback of what it raised.

    Args:
        handler: The handler; if it is async, it runs in an event loop of its own.
        task: The task.
        context: The context for the handler.
        memory_limit: Bytes that this process may map beside what it has mapped.
        propagate: Exceptions that are not an outcome but leave this function.
    """
    try:
        if task.traceparent is None and memory_limit is None:
            value = _call(handler, task, context)
        else:
            with within(task.traceparent), limited_memory(memory_limit):
                value = _call(handler, task, context)
    except propagate:
        raise
    except BaseException as error:
        return of_error(error, memory_limit), _traceback(error)
    return of_value(value), ""


async def execute_async(handler: Handler, task: Claimed, context: TaskContext) -> tuple[Ended, str]:
    """Run an async handler in the event loop of the caller, as `execute`.

    Raises:
        CancelledError: The caller was cancelled, or the handler raised it.
    """
    try:
        with within(task.traceparent):
            value = await handler.call(task.params, context)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return of_error(error, None), _traceback(error)
    return of_value(value), ""


def _call(handler: Handler, task: Claimed, context: TaskContext) -> Any:
    value = handler.call(task.params, context)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _traceback(error: BaseException) -> str:
    return "" if isinstance(error, Retry) else traceback_of(error)


def of_error(error: BaseException, memory_limit: int | None) -> Ended:
    """Say how an attempt ended whose handler raised this."""
    if isinstance(error, Retry):
        reason = cut(message(error), LONGEST_ERROR) if error.reason else None
        after = None if error.after is None else min(error.after, LONGEST_PAUSE)
        return Ended("retry", error=reason, error_type="Retry", retry_after=after)
    try:
        text = describe(error)
        if isinstance(error, MemoryError) and memory_limit is not None:
            text = f"out of memory: the handler's limit is {human(memory_limit)}\n{text}"
        return Ended("failed", error=cut(text, LONGEST_ERROR), error_type=type_name(error))
    except Exception as again:
        return Ended(
            "failed",
            error=f"the handler raised an exception that cannot be read: {type(again).__name__}",
            error_type="Exception",
        )


def of_value(value: Any) -> Ended:
    """Say how an attempt ended whose handler returned this."""
    try:
        if isinstance(value, Mapping) and value.get("success") is False:
            return _own_failure(value)
        text = dumps(value, "result", DEEPEST_RESULT)
    except NotJson as error:
        return _refused(f"{clean(str(error))}")
    except Exception as error:
        return _refused(f"the result cannot be read: {type_name(error)}: {message(error)}")
    size = len(text) if text.isascii() else len(text.encode())
    if size > LARGEST_RESULT:
        return _refused(
            f"the result is too large: {human(size)} of JSON, and at most {human(LARGEST_RESULT)} "
            "are allowed; write it to storage, and return where it is"
        )
    return Ended("completed", result=text)


def _own_failure(value: Mapping[str, Any]) -> Ended:
    said = value.get("error") or value.get("message")
    text = "the handler answered success: false, without an error" if not said else str(said)
    kind = value.get("error_type")
    return Ended(
        "failed",
        error=cut(clean(text), LONGEST_ERROR),
        error_type=None if kind is None else cut(clean(str(kind)), 200),
    )


def _refused(reason: str) -> Ended:
    # No further attempt would return anything else.
    with contextlib.suppress(UnicodeError):
        reason = cut(reason, LONGEST_ERROR)
    return Ended("failed", error=reason, error_type="Permanent")
