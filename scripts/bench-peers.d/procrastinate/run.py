"""Procrastinate: batch_defer_async, and async workers with its concurrency option (see ../README.md)."""

import asyncio
import importlib.metadata
import json
import os
import time

import procrastinate
import psycopg

WORKERS = 8
CONCURRENCY = 5
N = int(os.environ["N"])
PAYLOAD_BYTES = int(os.environ["PAYLOAD_BYTES"])
URL = os.environ["DATABASE_URL"]

# A connection for each concurrent job, and one for each worker to listen on.
CONNECTIONS = WORKERS * (CONCURRENCY + 1) + 4
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=URL, min_size=CONNECTIONS, max_size=CONNECTIONS)
)
seen = bytearray(N)
handled = 0
all_handled = asyncio.Event()


@app.task(queue="bench", name="bench")
async def bench(i, text):
    global handled
    if not isinstance(text, str):
        raise TypeError("no text")
    if not seen[i]:
        seen[i] = 1
        handled += 1
        if handled == N:
            all_handled.set()


def payload(i):
    bare = len(json.dumps({"i": i, "text": ""}))
    return {"i": i, "text": "x" * max(0, PAYLOAD_BYTES - bare)}


async def measure():
    tasks = [payload(i) for i in range(N)]
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
        began = time.perf_counter()
        for start in range(0, N, 10_000):
            await bench.batch_defer_async(*tasks[start : start + 10_000])
        await all_handled.wait()
        succeeded = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        while (await (await connection.execute(succeeded)).fetchone())[0] < N:
            await asyncio.sleep(0.005)
        return time.perf_counter() - began


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        options = {"queues": ["bench"], "concurrency": CONCURRENCY, "install_signal_handlers": False}
        workers = [asyncio.create_task(app.run_worker_async(**options)) for _ in range(WORKERS)]
        await asyncio.sleep(0.5)  # until the workers listen
        measuring = asyncio.create_task(measure())
        await asyncio.wait([measuring, *workers], return_when=asyncio.FIRST_COMPLETED)
        if not measuring.done():
            raise RuntimeError("a worker ended")
        seconds = measuring.result()
        result = {
            "peer": os.environ["PEER"],
            "version": importlib.metadata.version("procrastinate"),
            "n": N,
            "seconds": seconds,
            "tasks_per_second": N / seconds,
            "verified": handled,
        }
        print(json.dumps(result), flush=True)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers, timeout=10)


asyncio.run(main())
