"""Submit jobs to lastlight, follow them and read their results; run their tasks in Python.

>>> from lastlight import Client
>>> client = Client("http://127.0.0.1:7071")
>>> job = client.submit("hello_world", n=100)
>>> job.wait().result()

>>> from lastlight import Worker
>>> worker = Worker(queue="raster")
>>> @worker.handler("raster_validate")
... def validate(params, context):
...     return {"crs": "EPSG:4326"}
"""

from lastlight._client import AsyncClient, AsyncJob, Client, Job
from lastlight._context import TaskContext
from lastlight._errors import (
    JobFailed,
    LastlightError,
    NotJson,
    Permanent,
    Refused,
    Retry,
    StillRunning,
    Unavailable,
)
from lastlight._model import Stage, Status, Task
from lastlight._worker import Outcome, Worker

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Client",
    "Job",
    "JobFailed",
    "LastlightError",
    "NotJson",
    "Outcome",
    "Permanent",
    "Refused",
    "Retry",
    "Stage",
    "Status",
    "StillRunning",
    "Task",
    "TaskContext",
    "Unavailable",
    "Worker",
]
