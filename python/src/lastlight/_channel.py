"""Messages between a worker and the process of a handler: a length of four bytes, and JSON.

It knows only the two ends of a pipe. No object of Python is read from it, only JSON.
"""

from __future__ import annotations

import contextlib
import json
import struct
import threading
from typing import IO, Any

_HEAD = struct.Struct(">I")

# More than the largest result with all its characters escaped.
_LARGEST = 64 * 1024 * 1024

#: The exit code of a process for handlers that can no longer read its pipe.
PIPE_IS_CLOSED = 70


class Channel:
    """One end. One thread may read, and any may write."""

    def __init__(self, reads: IO[bytes], writes: IO[bytes]) -> None:
        self._reads = reads
        self._writes = writes
        self._lock = threading.Lock()
        self.is_broken = False
        """Whether this end of the pipe can no longer be read, as when other code closed it."""

    def send(self, message: dict[str, Any]) -> None:
        """Write a message.

        Raises:
            OSError: The other end is closed.
        """
        body = json.dumps(message, separators=(",", ":")).encode()
        data = memoryview(_HEAD.pack(len(body)) + body)
        with self._lock:
            while data:
                data = data[self._writes.write(data) or 0 :]
            self._writes.flush()

    def receive(self) -> dict[str, Any] | None:
        """Wait for a message; None once the other end is closed or sends anything else."""
        head = self._exactly(_HEAD.size)
        if head is None:
            return None
        (length,) = _HEAD.unpack(head)
        body = self._exactly(length) if length <= _LARGEST else None
        if body is None:
            return None
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """Close this end."""
        for file in (self._writes, self._reads):
            with contextlib.suppress(OSError):
                file.close()

    def _exactly(self, length: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < length:
            try:
                part = self._reads.read(length - len(parts))
            except (OSError, ValueError):
                self.is_broken = True
                return None
            if not part:
                return None
            parts += part
        return bytes(parts)
