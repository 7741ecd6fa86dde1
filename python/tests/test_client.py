"""Jobs of a real app, submitted, followed, changed and read."""

from __future__ import annotations

import asyncio
import datetime

import pytest

from lastlight import AsyncClient, Client, JobFailed, Refused, Status, StillRunning


def test_a_job_is_submitted_followed_and_read(client: Client) -> None:
    job = client.submit("hello_world", n=250)
    result = job.wait().result()
    assert result["completed_tasks"] == 500
    tasks = list(job.tasks(stage=1))
    assert len(tasks) == 250, "more than one page"
    assert len({task.index for task in tasks}) == 250
    assert all(task.status == "completed" and task.result and not task.error for task in tasks)
    assert len(list(job.tasks())) == 500


def test_the_same_submission_is_the_same_job(client: Client) -> None:
    first = client.submit("hello_world", n=3).wait()
    second = client.submit("hello_world", n=3)
    assert second.job_id == first.job_id
    assert client.job(first.job_id).status() == second.status()


def test_a_gate_is_decided(client: Client) -> None:
    when = datetime.date(2026, 11, 30)
    job = client.submit("approved", number=7, rate=0.5, when=when)
    for status in job.changes(timeout=60):
        assert status.parameters["when"] == "2026-11-30"
        if status.gates:
            break
    assert status.gates == ("ask",)
    assert "waits for ask" in str(status)
    assert "continues" in job.decide("ask", "approve", by="Ada", comment="fine", data={"x": [1]})
    job.wait(timeout=60).result()
    last = next(job.tasks(stage=3))
    assert last.result["result"]["by"] == "Ada"
    assert last.result["result"]["note"] == {"x": [1]}
    with pytest.raises(Refused) as refused:
        job.decide("ask", "reject")
    assert refused.value.status == 409


def test_a_failed_job_has_a_reason_and_no_result(client: Client) -> None:
    job = client.submit("wrong", label="a").wait(timeout=60)
    with pytest.raises(JobFailed, match="it is broken") as failed:
        job.result()
    assert (failed.value.job_id, failed.value.status) == (job.job_id, "failed")
    task = next(job.tasks(status="failed"))
    assert task.error is not None
    assert "it is broken" in task.error
    assert "only" in job.retry()


def test_a_job_that_runs_has_no_result_and_is_cancelled(client: Client) -> None:
    job = client.submit("long", label="a")
    with pytest.raises(StillRunning, match="had not finished in time"):
        job.wait(timeout=1)
    with pytest.raises(StillRunning, match="no result yet"):
        job.result()
    assert "cancelled" in job.cancel()
    with pytest.raises(JobFailed, match="cancelled on request"):
        job.wait(timeout=60).result()


def test_a_job_is_paused_and_resumed(client: Client) -> None:
    job = client.submit("long", label="b")
    assert "pause" in job.pause()
    assert job.resume()
    job.cancel()


def test_wrong_requests_are_refused_with_what_is_allowed(client: Client) -> None:
    with pytest.raises(Refused, match="n must be") as refused:
        client.submit("hello_world", n=0)
    assert refused.value.status == 400
    assert refused.value.problems[0]["field"] == "n"
    with pytest.raises(Refused, match="nothing"):
        client.submit("nothing")
    with pytest.raises(Refused) as refused:
        client.job("0" * 64).status()
    assert refused.value.status == 404


def test_progress_is_told_and_printed(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Status] = []
    client.submit("hello_world", n=20).wait(progress=seen.append)
    assert seen[-1].is_finished
    assert [stage.completed for stage in seen[-1].stages] == [20, 20]
    client.submit("hello_world", n=21).wait(progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].endswith("completed, 42 of 42 tasks"), lines


def test_asyncio_runs_jobs_side_by_side(url: str) -> None:
    async def run() -> None:
        async with AsyncClient(url) as client:
            jobs = [await client.submit("hello_world", n=30 + more) for more in range(3)]
            await asyncio.gather(*(job.wait(timeout=60) for job in jobs))
            results = [await job.result() for job in jobs]
            assert [result["completed_tasks"] for result in results] == [60, 62, 64]
            indices = [task.index async for task in jobs[0].tasks(stage=2)]
            assert len(indices) == 30
            job = await client.submit("approved", number=8)
            async for status in job.changes(timeout=60):
                if status.gates:
                    await job.decide("ask", "reject")
                    break
            await job.wait(timeout=60)
            assert (await job.status()).stages[2].outcome == "skipped"
            long = await client.submit("long", label="async")
            await long.pause()
            await long.resume()
            await long.cancel()
            with pytest.raises(JobFailed):
                await long.result()
            await long.retry()
            await client.job(long.job_id).cancel()

    asyncio.run(run())
