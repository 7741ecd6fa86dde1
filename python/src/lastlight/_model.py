"""What the app says of jobs and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The states in which a job does not change any more, unless a user retries it.
_FINISHED = frozenset({"completed", "completed_with_errors", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Stage:
    """The progress of a stage, or of a node of a workflow."""

    number: int
    """From 1."""
    name: str
    """The node's name; for a job that is not a workflow, the type of its tasks."""
    total: int
    """Number of tasks that are planned so far."""
    completed: int
    failed: int
    running: int | None
    """Number of tasks that run now; None if that is unknown."""
    outcome: str | None
    """How a node ended: `completed`, `failed`, `skipped` or `rejected`; None if it has not."""
    waits_for_decision: bool
    """Whether it is a gate that waits for `Job.decide`."""

    @classmethod
    def _of(cls, answer: Mapping[str, Any]) -> Stage:
        node = answer.get("node") or {}
        return cls(
            number=answer["stage"],
            name=node.get("name") or answer.get("taskType") or f"stage {answer['stage']}",
            total=answer["total"],
            completed=answer["completed"],
            failed=answer["failed"],
            running=answer.get("running"),
            outcome=node.get("outcome"),
            waits_for_decision=bool(node.get("waitsForDecision")),
        )


@dataclass(frozen=True, slots=True)
class Status:
    """A job at one moment."""

    job_id: str
    job_type: str
    status: str
    """`queued`, `processing`, `completed`, `completed_with_errors`, `failed` or `cancelled`."""
    parameters: Mapping[str, Any]
    """With the defaults filled in."""
    stages: tuple[Stage, ...]
    """In order; of a job that is not a workflow, those that have begun."""
    result: Any
    """None until the job has completed."""
    error: str | None
    """Why it failed or was cancelled."""
    is_paused: bool
    answer: Mapping[str, Any] = field(repr=False, compare=False)
    """All that the app answered."""

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended."""
        return self.status in _FINISHED

    @property
    def gates(self) -> tuple[str, ...]:
        """The names of the gates that wait for a decision."""
        return tuple(stage.name for stage in self.stages if stage.waits_for_decision)

    def __str__(self) -> str:
        done = sum(stage.completed + stage.failed for stage in self.stages)
        total = sum(stage.total for stage in self.stages)
        text = f"{self.job_type} {self.job_id[:12]} {self.status}, {done} of {total} tasks"
        failed = sum(stage.failed for stage in self.stages)
        text += f", {failed} failed" if failed else ""
        text += f", waits for {', '.join(self.gates)}" if self.gates else ""
        return text + (", paused" if self.is_paused else "")

    @classmethod
    def _of(cls, answer: Mapping[str, Any]) -> Status:
        return cls(
            job_id=answer["jobId"],
            job_type=answer["jobType"],
            status=answer["status"],
            parameters=answer["parameters"],
            stages=tuple(Stage._of(stage) for stage in answer["progress"]),
            result=answer.get("resultData"),
            error=answer.get("errorDetails"),
            is_paused=answer.get("pausedAt") is not None and answer["status"] not in _FINISHED,
            answer=answer,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a job."""

    task_id: str
    index: str
    """Its index within its stage, as its job type named it."""
    stage: int
    status: str
    attempt: int
    """Number of attempts that began."""
    parameters: Any
    result: Any
    """None unless it completed."""
    error: str | None
    """Why its last attempt failed, if it did."""
    answer: Mapping[str, Any] = field(repr=False, compare=False)
    """All that the app answered."""

    @classmethod
    def _of(cls, answer: Mapping[str, Any]) -> Task:
        return cls(
            task_id=answer["task_id"],
            index=answer["task_index"],
            stage=answer["stage"],
            status=answer["status"],
            attempt=answer["attempt"],
            parameters=answer["parameters"],
            result=answer["result_data"],
            error=answer["error_details"],
            answer=answer,
        )
