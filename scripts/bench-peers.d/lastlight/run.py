"""lastlight with its own `bench run`, which includes a local broker and Functions host (see ../README.md)."""

import json
import os
import subprocess
import sys

PATHS = {
    "lastlight-worker": ("worker", 1),
    "lastlight-queue": ("queue_storage", 1),
    "lastlight-bus": ("service_bus", 1),
    "lastlight-bus-100": ("service_bus", 100),
}

peer, n = os.environ["PEER"], int(os.environ["N"])
binary, root = os.environ["LASTLIGHT_BINARY"], os.environ["LASTLIGHT_ROOT"]
path, tasks_per_message = PATHS[peer]

command = [binary, "bench", "run", "--n", str(n), "--database-url", os.environ["DATABASE_URL"], "--json"]
command += ["--app-root", root, "--path", path, "--tasks-per-message", str(tasks_per_message)]
if path == "worker":
    command += ["--worker-loops", "8"]
answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
if answer.returncode != 0:
    sys.exit(f"lastlight bench run ended with {answer.returncode}")
runs = [run for run in json.loads(answer.stdout)["runs"] if run["path"] == path]
if len(runs) != 1 or runs[0]["tasks"] != n or runs[0]["tasks_per_message"] != tasks_per_message:
    sys.exit(f"wanted one run of {n} tasks over {path}, {tasks_per_message} a message; got {answer.stdout}")

print(
    json.dumps(
        {
            "peer": peer,
            "version": os.environ["LASTLIGHT_VERSION"],
            "n": n,
            "seconds": runs[0]["seconds"],
            "tasks_per_second": n / runs[0]["seconds"],
            "verified": runs[0]["tasks"],
        }
    )
)
