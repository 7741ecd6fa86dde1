"""The end of what an attempt printed and logged, in bounded memory.

It knows neither tasks nor processes. For handlers in threads, what is printed goes to the tail of
the context that prints.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextvars import ContextVar
from typing import Any, TextIO

from lastlight._failure import clean

#: The most bytes that are kept.
LARGEST_TAIL = 64 * 1024


class LogTail:
    """The last 64 KiB of what was written. Threads may write and read at once."""

    __slots__ = ("_bytes", "_lock", "written")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._lock = threading.Lock()
        self.written = 0
        """Number of bytes that were ever written."""

    def write(self, data: bytes) -> None:
        """Add bytes, and forget what is too old."""
        with self._lock:
            self.written += len(data)
            self._bytes += data[-LARGEST_TAIL:]
            # Not at each write: single characters would move 64 KiB each.
            if len(self._bytes) > 2 * LARGEST_TAIL:
                del self._bytes[:-LARGEST_TAIL]

    def text(self) -> str:
        """Return what is kept, as valid text of at most 64 KiB of UTF-8."""
        if self.written == 0:
            return ""
        with self._lock:
            kept = bytes(self._bytes[-LARGEST_TAIL:])
        text = clean(kept.decode("utf-8", "replace"))
        # Each byte that was no text became a character of three.
        return text.encode()[-LARGEST_TAIL:].decode("utf-8", "ignore")


#: The tail of the attempt that runs in this context.
current_tail: ContextVar[LogTail | None] = ContextVar("lastlight_log_tail", default=None)


class _Splitter:
    """A standard stream that sends what is printed within an attempt to the attempt's tail."""

    def __init__(self, stream: TextIO, echo: bool) -> None:
        self._stream = stream
        self._echo = echo

    def write(self, text: str) -> int:
        tail = current_tail.get()
        if tail is None:
            return self._stream.write(text)
        tail.write(text.encode("utf-8", "replace"))
        if self._echo:
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Records(logging.Handler):
    """Sends what is logged within an attempt to the attempt's tail."""

    def emit(self, record: logging.LogRecord) -> None:
        tail = current_tail.get()
        if tail is None:
            return
        try:
            tail.write((self.format(record) + "\n").encode("utf-8", "replace"))
        except Exception:
            self.handleError(record)


#: How a record is written in a log tail.
RECORD_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Capture:
    """Sends what attempts in threads of this process print and log to their tails, while open."""

    def __init__(self, echo: bool) -> None:
        self._echo = echo
        self._records = _Records()
        self._records.setFormatter(logging.Formatter(RECORD_FORMAT))
        self._streams: tuple[TextIO, TextIO] | None = None

    def __enter__(self) -> Capture:
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout = _Splitter(sys.stdout, self._echo)
        sys.stderr = _Splitter(sys.stderr, self._echo)
        logging.getLogger().addHandler(self._records)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._records)
        if self._streams is not None:
            sys.stdout, sys.stderr = self._streams
