"""The trace of the job as OpenTelemetry's context, where OpenTelemetry is installed.

It knows nothing of tasks beside the text of W3C's `traceparent`.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator


@contextlib.contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """Continue a trace: spans that begin within it belong to it."""
    token = detach = None
    if traceparent:
        # Tracing that is set up in a wrong way costs no attempt.
        with contextlib.suppress(Exception):
            context = importlib.import_module("opentelemetry.context")
            propagate = importlib.import_module("opentelemetry.propagate")
            detach = context.detach
            token = context.attach(propagate.extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        if token is not None and detach is not None:
            with contextlib.suppress(Exception):
                detach(token)
