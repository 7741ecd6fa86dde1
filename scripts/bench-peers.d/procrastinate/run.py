"""Procrastinate: batch_defer_async and one async worker with its concurrency option (see ../README.md)."""

import asyncio
import importlib.metadata
import json
import os
import time

import procrastinate
import psycopg

CONCURRENCY = 20
N = int(os.environ["N"])
PAYLOAD_BYTES = int(os.environ["PAYLOAD_BYTES"])
URL = os.environ["DATABASE_URL"]

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=URL, min_size=CONCURRENCY, max_size=CONCURRENCY + 4)
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


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(
            app.run_worker_async(queues=["bench"], concurrency=CONCURRENCY, install_signal_handlers=False)
        )
        await asyncio.sleep(0.5)  # until it listens
        async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
            tasks = [payload(i) for i in range(N)]
            began = time.perf_counter()
            for start in range(0, N, 10_000):
                await bench.batch_defer_async(*tasks[start : start + 10_000])
            await all_handled.wait()
            while True:
                cursor = await connection.execute(
                    "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
                )
                if (await cursor.fetchone())[0] == N:
                    break
                await asyncio.sleep(0.005)
            seconds = time.perf_counter() - began
        print(
            json.dumps(
                {
                    "peer": os.environ["PEER"],
                    "version": importlib.metadata.version("procrastinate"),
                    "n": N,
                    "seconds": seconds,
                    "tasks_per_second": N / seconds,
                    "verified": handled,
                }
            ),
            flush=True,
        )
        worker.cancel()
        await asyncio.wait([worker], timeout=10)


asyncio.run(main())
