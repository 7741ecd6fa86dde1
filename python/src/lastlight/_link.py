"""The connection of a worker with the app: one request and its answer at a time.

It sends, and says what a request came to; what to do next is decided by those who ask.
"""

from __future__ import annotations

import json
import random
from types import TracebackType
from typing import Any

import httpx

from lastlight import _steps
from lastlight._errors import LastlightError, Unavailable
from lastlight._protocol import NotDone, not_done


class Link:
    """The connections with an app. Requests may be sent side by side.

    Args:
        url: The app's address; without it, LASTLIGHT_URL, or that of `lastlight local`.
        key: A key of the app; without it, LASTLIGHT_KEY.

    Raises:
        ValueError: The address does not begin with http:// or https://, or the key would be sent
            over plain HTTP to another machine.
    """

    def __init__(self, url: str | None, key: str | None) -> None:
        self.url = _steps.address(url)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={**_steps.headers(self.url, key), "content-type": "application/json"},
            timeout=_steps.TIMEOUT,
        )

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: str) -> Any:
        """Send a request once; return the JSON of its answer, or a `NotDone`."""
        try:
            answer = await self._http.post(path, content=body.encode())
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            said = str(error) or type(error).__name__
            # An address or a key that cannot be sent stays so.
            ours = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)
            again = not isinstance(error, ours)
            return NotDone(Unavailable(f"POST {path}: no answer from {self.url}: {said}"), again)
        if answer.status_code != 200:
            return not_done(
                path, answer.status_code, answer.text, answer.headers.get("retry-after")
            )
        try:
            return json.loads(answer.content)
        except ValueError:
            said = answer.text[:200]
            message = f"POST {path}: this is no answer of lastlight: {said!r}"
            return NotDone(LastlightError(message), again=False)


class Pauses:
    """The growing pauses between repetitions of a request, in seconds.

    Args:
        longest: The longest pause.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = 0.25

    def next(self, least: float = 0.0) -> float:
        """Return the next pause; workers that failed together do not come back together."""
        pause = max(least, self._next) * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, self._longest)
        return max(pause, least)
