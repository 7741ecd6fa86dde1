"""The handlers of the job type hello_world, in Python. They do nearly nothing, so threads run them.

    lastlight bench workers --worker 'lastlight-worker hello_world:worker --concurrency 100'

measures with them what a worker process can do at most.
"""

from __future__ import annotations

from typing import Any

from lastlight import TaskContext, Worker

worker = Worker()


@worker.handler("hello_world_greeting", isolation="thread")
def greet(params: dict[str, Any]) -> dict[str, Any]:
    """Return the greeting that the job planned."""
    return {"greeting": params["message"], "task_number": params["task_number"]}


@worker.handler("hello_world_reply", isolation="thread")
def reply(params: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """Answer the greeting of the task before."""
    greeting = context.predecessor_result["greeting"]
    return {"reply": f'Reply to "{greeting}"', "task_number": params["task_number"]}
