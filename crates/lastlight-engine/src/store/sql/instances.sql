-- The processes that reported in the last $1 seconds, oldest first. Reads the whole table, which
-- has one row per process.
SELECT instance_id, version, started_at, seen_at,
       extract(epoch FROM now() - started_at)::float8 AS "up!: Seconds",
       (SELECT COALESCE(sum(tasks), 0)::bigint FROM unnest(running_tasks) AS tasks) AS "running!",
       pool_open, pool_in_use, pool_limit
FROM instances
WHERE seen_at > now() - make_interval(secs => $1)
ORDER BY started_at, instance_id
