// pg-boss: several workers in one process, each fetching batches, woken by NOTIFY (see ../README.md).
import { readFileSync } from "node:fs";
import { PgBoss } from "pg-boss";
import pg from "pg";

const { PEER: peer, DATABASE_URL: connectionString } = process.env;
const n = Number(process.env.N);
const payloadBytes = Number(process.env.PAYLOAD_BYTES);
const { version } = JSON.parse(readFileSync("node_modules/pg-boss/package.json", "utf8"));
const queue = "bench";

const payload = (i) => {
  const bare = JSON.stringify({ i, text: "" });
  return { i, text: "x".repeat(Math.max(0, payloadBytes - bare.length)) };
};

const seen = new Uint8Array(n);
let handled = 0;
let allHandled;
const whenAllHandled = new Promise((resolve) => (allHandled = resolve));

const boss = new PgBoss({ connectionString, max: 20, useListenNotify: true });
boss.on("error", (error) => console.error(`error: ${error.message}`));
await boss.start();
await boss.createQueue(queue, { notify: true });
await boss.work(
  queue,
  {
    batchSize: 500,
    localConcurrency: 4,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 0.5,
    notifyPollingIntervalSeconds: 0.5,
  },
  async (jobs) => {
    for (const { data } of jobs) {
      if (typeof data.text !== "string") throw new Error("no text");
      if (!seen[data.i]) {
        seen[data.i] = 1;
        if (++handled === n) allHandled();
      }
    }
  },
);

const client = new pg.Client({ connectionString });
await client.connect();
const completed = async () =>
  Number((await client.query("select count(*) from pgboss.job where name = $1 and state = 'completed'", [queue])).rows[0].count);

const tasks = Array.from({ length: n }, (_, i) => ({ data: payload(i) }));
const began = performance.now();
for (let from = 0; from < n; from += 1_000) await boss.insert(queue, tasks.slice(from, from + 1_000));
await whenAllHandled;
while ((await completed()) < n) await new Promise((resolve) => setTimeout(resolve, 5));
const seconds = (performance.now() - began) / 1000;

console.log(JSON.stringify({ peer, version, n, seconds, tasks_per_second: n / seconds, verified: handled }));
await client.end();
await boss.stop({ graceful: false });
process.exit(0);
