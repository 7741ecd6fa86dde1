"""The clients, one that blocks and one for asyncio, and their jobs."""

from __future__ import annotations

import asyncio
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx

from lastlight import _steps
from lastlight._model import Status, Task
from lastlight._steps import Answer, Send, Steps

T = TypeVar("T")

#: True prints a line to standard error; a function is called with each new status.
Progress = bool | Callable[[Status], object]


class _Line:
    """The progress of a job as a line that replaces itself, or lines where nobody watches."""

    def __init__(self, progress: Progress) -> None:
        self._call = progress if callable(progress) else None
        self._prints = progress is True
        self._width = 0
        self._said = ""

    def show(self, status: Status) -> None:
        if self._call is not None:
            self._call(status)
        text = str(status)
        if not self._prints or text == self._said:
            return
        self._said = text
        if sys.stderr.isatty():
            end = "\n" if status.is_finished else ""
            print(f"\r{text.ljust(self._width)}", end=end, file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)


class Job:
    """A job that was submitted."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self.job_id = job_id

    def __repr__(self) -> str:
        return f"Job({self.job_id!r})"

    def status(self) -> Status:
        """Return the job as it is now."""
        return self._client._run(_steps.status(self.job_id))

    def wait(self, timeout: float | None = None, progress: Progress = False) -> Job:
        """Wait until the job has ended, however it ended, and return it.

        Args:
            timeout: Seconds; None waits without an end.
            progress: True prints the progress; a function is called with each new status.

        Raises:
            StillRunning: The time was over. The job goes on.
        """
        for _ in self.changes(timeout, progress):
            pass
        return self

    def changes(self, timeout: float | None = None, progress: Progress = False) -> Iterator[Status]:
        """Yield the job's status now and after each change, to its end."""
        line, changes = _Line(progress), _steps.Changes(self.job_id, timeout)
        while True:
            status = self._client._run(changes.next())
            line.show(status)
            yield status
            if status.is_finished:
                return

    def result(self) -> Any:
        """Return the result of the job, which must have ended.

        Raises:
            JobFailed: The job failed or was cancelled.
            StillRunning: The job has not ended.
        """
        return _steps.result(self.status())

    def tasks(self, stage: int | None = None, status: str | None = None) -> Iterator[Task]:
        """Yield the tasks of the job with their results, page by page, in the order of stages.

        Args:
            stage: Only those of this stage, from 1.
            status: Only those with this status, such as `failed`.
        """
        cursor: str | None = None
        while True:
            tasks, cursor = self._client._run(_steps.page(self.job_id, stage, status, cursor))
            yield from tasks
            if cursor is None:
                return

    def cancel(self) -> str:
        """Cancel the job; return what happened."""
        return self._client._run(_steps.control(self.job_id, "cancel"))

    def retry(self) -> str:
        """Run again what failed in a job that failed or was cancelled; return what happened."""
        return self._client._run(_steps.control(self.job_id, "retry"))

    def pause(self) -> str:
        """Pause the job at the end of its stage; return what happened."""
        return self._client._run(_steps.control(self.job_id, "pause"))

    def resume(self) -> str:
        """Continue a paused job; return what happened."""
        return self._client._run(_steps.control(self.job_id, "resume"))

    def decide(
        self,
        node: str,
        decision: Literal["approve", "reject"],
        *,
        by: str | None = None,
        comment: str | None = None,
        data: Any = None,
    ) -> str:
        """Decide at a gate of the job; return what happened.

        Args:
            node: The gate's name.
            decision: `approve` or `reject`.
            by: Who decided.
            comment: Why.
            data: The gate's result, for the nodes after it: any JSON value.
        """
        details = {"by": by, "comment": comment, "data": data}
        return self._client._run(_steps.decide(self.job_id, node, decision, details))


class Client:
    """A client that blocks. It may be used by several threads at once.

    Args:
        url: The app's address; without it, LASTLIGHT_URL, or that of `lastlight local`.
        key: A key of the app; without it, the variable LASTLIGHT_KEY.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        self.url = _steps.address(url)
        self._http = httpx.Client(
            base_url=self.url, headers=_steps.headers(self.url, key), timeout=_steps.TIMEOUT
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, job_type: str, /, **parameters: Any) -> Job:
        """Submit a job. The same job type with the same parameters is the same job.

        Raises:
            Refused: A parameter is wrong; `problems` names each.
        """
        job_id, said = self._run(_steps.submit(job_type, parameters))
        for warning in said:
            warnings.warn(warning, stacklevel=2)
        return Job(self, job_id)

    def job(self, job_id: str) -> Job:
        """Return a job that was submitted before. Nothing is asked of the app."""
        return Job(self, job_id)

    def _run(self, steps: Steps[T]) -> T:
        received: Answer | httpx.TransportError | None = None
        while True:
            try:
                step = steps.send(received)
            except StopIteration as end:
                value: T = end.value
                return value
            if not isinstance(step, Send):
                time.sleep(step.seconds)
                received = None
                continue
            try:
                answer = self._http.request(
                    step.method, step.path, params=dict(step.params), content=step.body
                )
                received = Answer(answer.status_code, answer.text)
            except httpx.TransportError as error:
                received = error


class AsyncJob:
    """A job that was submitted, for asyncio. Its methods are those of `Job`."""

    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self._client = client
        self.job_id = job_id

    def __repr__(self) -> str:
        return f"AsyncJob({self.job_id!r})"

    async def status(self) -> Status:
        """Return the job as it is now."""
        return await self._client._run(_steps.status(self.job_id))

    async def wait(self, timeout: float | None = None, progress: Progress = False) -> AsyncJob:
        """Wait until the job has ended, as `Job.wait`."""
        async for _ in self.changes(timeout, progress):
            pass
        return self

    async def changes(
        self, timeout: float | None = None, progress: Progress = False
    ) -> AsyncIterator[Status]:
        """Yield the job's status now and after each change, as `Job.changes`."""
        line, changes = _Line(progress), _steps.Changes(self.job_id, timeout)
        while True:
            status = await self._client._run(changes.next())
            line.show(status)
            yield status
            if status.is_finished:
                return

    async def result(self) -> Any:
        """Return the result of the job, as `Job.result`."""
        return _steps.result(await self.status())

    async def tasks(
        self, stage: int | None = None, status: str | None = None
    ) -> AsyncIterator[Task]:
        """Yield the tasks of the job, as `Job.tasks`."""
        cursor: str | None = None
        while True:
            tasks, cursor = await self._client._run(_steps.page(self.job_id, stage, status, cursor))
            for task in tasks:
                yield task
            if cursor is None:
                return

    async def cancel(self) -> str:
        """Cancel the job; return what happened."""
        return await self._client._run(_steps.control(self.job_id, "cancel"))

    async def retry(self) -> str:
        """Run again what failed, as `Job.retry`."""
        return await self._client._run(_steps.control(self.job_id, "retry"))

    async def pause(self) -> str:
        """Pause the job at the end of its stage; return what happened."""
        return await self._client._run(_steps.control(self.job_id, "pause"))

    async def resume(self) -> str:
        """Continue a paused job; return what happened."""
        return await self._client._run(_steps.control(self.job_id, "resume"))

    async def decide(
        self,
        node: str,
        decision: Literal["approve", "reject"],
        *,
        by: str | None = None,
        comment: str | None = None,
        data: Any = None,
    ) -> str:
        """Decide at a gate of the job, as `Job.decide`."""
        details = {"by": by, "comment": comment, "data": data}
        return await self._client._run(_steps.decide(self.job_id, node, decision, details))


class AsyncClient:
    """A client for asyncio. Its methods are those of `Client`."""

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        self.url = _steps.address(url)
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=_steps.headers(self.url, key), timeout=_steps.TIMEOUT
        )

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, job_type: str, /, **parameters: Any) -> AsyncJob:
        """Submit a job, as `Client.submit`."""
        job_id, said = await self._run(_steps.submit(job_type, parameters))
        for warning in said:
            warnings.warn(warning, stacklevel=2)
        return AsyncJob(self, job_id)

    def job(self, job_id: str) -> AsyncJob:
        """Return a job that was submitted before. Nothing is asked of the app."""
        return AsyncJob(self, job_id)

    async def _run(self, steps: Steps[T]) -> T:
        received: Answer | httpx.TransportError | None = None
        while True:
            try:
                step = steps.send(received)
            except StopIteration as end:
                value: T = end.value
                return value
            if not isinstance(step, Send):
                await asyncio.sleep(step.seconds)
                received = None
                continue
            try:
                answer = await self._http.request(
                    step.method, step.path, params=dict(step.params), content=step.body
                )
                received = Answer(answer.status_code, answer.text)
            except httpx.TransportError as error:
                received = error
