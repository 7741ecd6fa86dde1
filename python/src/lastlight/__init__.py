"""Submit jobs to lastlight, follow them and read their results.

>>> from lastlight import Client
>>> client = Client("http://127.0.0.1:7071")
>>> job = client.submit("hello_world", n=100)
>>> job.wait().result()
"""

from lastlight._client import AsyncClient, AsyncJob, Client, Job
from lastlight._errors import (
    JobFailed,
    LastlightError,
    NotJson,
    Refused,
    StillRunning,
    Unavailable,
)
from lastlight._model import Stage, Status, Task

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "Client",
    "Job",
    "JobFailed",
    "LastlightError",
    "NotJson",
    "Refused",
    "Stage",
    "Status",
    "StillRunning",
    "Task",
    "Unavailable",
]
