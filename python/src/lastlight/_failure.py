"""What went wrong, in text that is valid, short and says where.

It knows exceptions and nothing of tasks, processes or the app.
"""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import PurePath
from types import TracebackType

from lastlight._errors import Permanent

#: The most bytes of an error that the app is told.
LONGEST_ERROR = 4000

_LONGEST_TRACEBACK = 60 * 1024
_LONGEST_MESSAGE = 2000
_MOST_FRAMES = 3
_HERE = str(PurePath(__file__).parent)
_PYTHON = sysconfig.get_path("stdlib")
_MAIN_NAMES = ("__main__", "__lastlight_main__")


def clean(text: str) -> str:
    """Return the text as valid Unicode without NUL: each bad character is replaced by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cut(text: str, most: int) -> str:
    """Return the beginning of the text, of at most `most` bytes of UTF-8."""
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"


def type_name(error: BaseException) -> str:
    """Return the name of an exception's class, with its module unless it is Python's own."""
    if isinstance(error, Permanent):
        return "Permanent"
    module, name = type(error).__module__, type(error).__qualname__
    return name if module in ("builtins", *_MAIN_NAMES) else clean(f"{module}.{name}")


def message(error: BaseException) -> str:
    """Return what an exception says, also if it cannot."""
    try:
        said = str(error)[:_LONGEST_MESSAGE]
    except Exception as again:
        said = f"(its text cannot be had: {type(again).__name__})"
    if isinstance(error, SystemExit):
        return f"the handler called sys.exit({said})"
    return clean(said) or type(error).__qualname__


def describe(error: BaseException) -> str:
    """Return what an exception says, and the last lines of code that led to it."""
    lines = [message(error)]
    for frame in _worth_telling(_frames(error.__traceback__)):
        source = f": {frame.line[:160]}" if frame.line else ""
        lines.append(f"  at {frame.name} ({frame.filename[-120:]}:{frame.lineno}){source}")
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(f"caused by {type_name(cause)}: {message(cause)[:500]}")
    return cut(clean("\n".join(lines)), LONGEST_ERROR)


def whole_traceback(error: BaseException) -> str:
    """Return the traceback as Python prints it, without frames of this package; bounded."""
    try:
        trace = error.__traceback__
        while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        text = f"{type(error).__qualname__} (its traceback cannot be printed)\n"
    return clean(text[-_LONGEST_TRACEBACK:])


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    try:
        return [
            frame for frame in traceback.extract_tb(trace, 100) if not _is_ours(frame.filename)
        ] or list(traceback.extract_tb(trace, -1))
    except Exception:
        return []


def _worth_telling(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the last frames, among them the last one of the user's own code."""
    last = frames[-_MOST_FRAMES:]
    own = [frame for frame in frames if _is_users(frame.filename)]
    return [own[-1], *last[1:]] if own and own[-1] not in last else last


def _is_users(path: str) -> bool:
    # Compiled modules have relative paths.
    installed = ("site-packages", "dist-packages")
    parts = PurePath(path)
    return (
        parts.is_absolute()
        and not any(name in parts.parts for name in installed)
        and not path.startswith(_PYTHON)
    )


def _is_ours(path: str) -> bool:
    return path.startswith(_HERE)
