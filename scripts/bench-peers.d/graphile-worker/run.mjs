// Graphile Worker, in two configurations of its performance page (see ../README.md).
import { readFileSync } from "node:fs";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const { PEER: peer, DATABASE_URL: connectionString } = process.env;
const n = Number(process.env.N);
const payloadBytes = Number(process.env.PAYLOAD_BYTES);
const batched = peer === "graphile-worker-batched";
const { version } = JSON.parse(readFileSync("node_modules/graphile-worker/package.json", "utf8"));

const payload = (i) => {
  const bare = JSON.stringify({ i, text: "" });
  return { i, text: "x".repeat(Math.max(0, payloadBytes - bare.length)) };
};

const seen = new Uint8Array(n);
let handled = 0;
let allHandled;
const whenAllHandled = new Promise((resolve) => (allHandled = resolve));

const taskList = {
  bench: async ({ i, text }) => {
    if (typeof text !== "string") throw new Error("no text");
    if (!seen[i]) {
      seen[i] = 1;
      if (++handled === n) allHandled();
    }
  },
};

const worker = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  ...(batched && { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
};
// The logger writes a line for each event at "info"; only errors are useful here.
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(`${level}: ${message}`);
});

const runner = await run({ connectionString, taskList, logger, noHandleSignals: true, preset: { worker } });
const utils = await makeWorkerUtils({ connectionString, logger });
const client = new pg.Client({ connectionString });
await client.connect();
// The row of a finished job is deleted: no rows left and all jobs handled means that all are durably completed.
const open = async () => Number((await client.query("select count(*) from graphile_worker._private_jobs")).rows[0].count);

const tasks = Array.from({ length: n }, (_, i) => ({ identifier: "bench", payload: payload(i) }));
const began = performance.now();
for (let from = 0; from < n; from += 1_000) await utils.addJobs(tasks.slice(from, from + 1_000));
await whenAllHandled;
while ((await open()) > 0) await new Promise((resolve) => setTimeout(resolve, 5));
const seconds = (performance.now() - began) / 1000;

console.log(JSON.stringify({ peer, version, n, seconds, tasks_per_second: n / seconds, verified: handled }));
await client.end();
await utils.release();
await runner.stop();
