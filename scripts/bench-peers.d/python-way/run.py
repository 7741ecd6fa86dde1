"""What a hand-written Azure Functions app in Python does: a row, a message and a counting transaction for each task.

It uses no queue library. PostgreSQL holds a job and its tasks; Storage Queue messages name tasks; whoever completes a
task takes the job's lock and counts the tasks that are still open, so that exactly one sees the last (../README.md).
"""

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import threading
import time
import uuid

import psycopg
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

THREADS = 16
MESSAGES_AT_ONCE = 32
INVISIBLE_SECONDS = 600  # as the Functions host receives messages
API_VERSION = "2024-11-04"  # supported by Azurite as well
N = int(os.environ["N"])
PAYLOAD_BYTES = int(os.environ["PAYLOAD_BYTES"])
URL = os.environ["DATABASE_URL"]
JOB = "bench"
STAGE = 1
QUEUE = f"bench-{uuid.uuid4().hex}"

# Azurite's published development account, which only emulators accept.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

SCHEMA = """
CREATE TABLE jobs (
    job_id text PRIMARY KEY, status text NOT NULL, total integer NOT NULL, completed_at timestamptz
);
CREATE TABLE tasks (
    task_id text PRIMARY KEY, job_id text NOT NULL REFERENCES jobs, stage integer NOT NULL, status text NOT NULL,
    parameters jsonb NOT NULL, result jsonb, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tasks_stage ON tasks (job_id, stage, status);
"""

finished = threading.Event()
failures = []


def queue_client():
    credential = {"account_name": ACCOUNT, "account_key": KEY}
    endpoint = os.environ["AZURITE_QUEUE_ENDPOINT"]
    return QueueClient(endpoint, QUEUE, credential=credential, api_version=API_VERSION)


def payload(i):
    bare = len(json.dumps({"i": i, "text": ""}))
    return json.dumps({"i": i, "text": "x" * max(0, PAYLOAD_BYTES - bare)})


def run_task(parameters):
    return {"length": len(parameters["text"])}


def execute(connection, task_id):
    row = connection.execute("SELECT status, parameters FROM tasks WHERE task_id = %s", (task_id,)).fetchone()
    if row[0] == "completed":
        connection.commit()
        return
    connection.execute("UPDATE tasks SET status = 'processing', updated_at = now() WHERE task_id = %s", (task_id,))
    connection.commit()

    result = run_task(row[1])

    connection.execute("SELECT 1 FROM jobs WHERE job_id = %s FOR UPDATE", (JOB,))
    connection.execute(
        "UPDATE tasks SET status = 'completed', result = %s, updated_at = now() WHERE task_id = %s",
        (json.dumps(result), task_id),
    )
    remaining = connection.execute(
        "SELECT count(*) FROM tasks WHERE job_id = %s AND stage = %s AND status IN ('queued', 'processing')",
        (JOB, STAGE),
    ).fetchone()[0]
    if remaining == 0:
        connection.execute("UPDATE jobs SET status = 'completed', completed_at = now() WHERE job_id = %s", (JOB,))
    connection.commit()
    if remaining == 0:
        finished.set()


def work():
    try:
        with psycopg.connect(URL) as connection, queue_client() as queue:
            while not finished.is_set():
                messages = list(
                    queue.receive_messages(max_messages=MESSAGES_AT_ONCE, visibility_timeout=INVISIBLE_SECONDS)
                )
                if not messages:
                    finished.wait(0.1)  # the shortest polling interval of the host
                for message in messages:
                    execute(connection, json.loads(message.content)["task_id"])
                    queue.delete_message(message)
    except Exception as error:
        failures.append(error)
        finished.set()


def main():
    logging.disable(logging.WARNING)
    with psycopg.connect(URL) as connection, queue_client() as queue:
        connection.execute(SCHEMA)
        connection.execute("INSERT INTO jobs VALUES (%s, 'processing', %s)", (JOB, N))
        connection.commit()
        with contextlib.suppress(ResourceExistsError):  # the client repeats requests that were not answered in time
            queue.create_queue()
        threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]

        began = time.perf_counter()
        # All rows before the first message: the count of open tasks is correct only once all rows exist.
        for i in range(N):
            connection.execute(
                "INSERT INTO tasks (task_id, job_id, stage, status, parameters) VALUES (%s, %s, %s, 'queued', %s)",
                (f"task-{i}", JOB, STAGE, payload(i)),
            )
            connection.commit()
        # The workers wait until now: in an app they are other processes, and polling empty queues would slow this one.
        for thread in threads:
            thread.start()
        for i in range(N):
            queue.send_message(json.dumps({"task_id": f"task-{i}", "job_id": JOB, "stage": STAGE}))
        finished.wait()
        if failures:
            raise failures[0]
        completed, status = connection.execute(
            "SELECT (SELECT count(*) FROM tasks WHERE status = 'completed'), status FROM jobs WHERE job_id = %s", (JOB,)
        ).fetchone()
        seconds = time.perf_counter() - began
        if status != "completed":
            raise RuntimeError(f"the job is {status}")

        print(
            json.dumps(
                {
                    "peer": os.environ["PEER"],
                    "version": f"Python {platform.python_version()}, psycopg {importlib.metadata.version('psycopg')}",
                    "n": N,
                    "seconds": seconds,
                    "tasks_per_second": N / seconds,
                    "verified": completed,
                }
            ),
            flush=True,
        )
        for thread in threads:
            thread.join(timeout=10)
        queue.delete_queue()


main()
