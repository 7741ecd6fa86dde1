-- The handlers of all queues, or of the queue $1, with their work: ready tasks on their own and in batches, counted up to about
-- $2 of each, the time since which the oldest is ready, tasks that wait for a pause to end, and all open
-- tasks according to the counters of their stages. Reads the whole table of handlers, which has one row for
-- each name, and all open stages. Index: tasks_ready, task_batches_ready, stages_open.
WITH open AS MATERIALIZED (
    SELECT s.handler_id, sum(s.total - s.completed - s.failed - s.skipped)::bigint AS tasks
    FROM stages s
    WHERE s.advanced_at IS NULL AND s.handler_id IS NOT NULL
    GROUP BY s.handler_id
)
SELECT h.queue, h.name, h.served_at, o.tasks AS "open: i64", r.ready + b.ready AS "ready!",
       LEAST(r.oldest, b.oldest) AS "oldest"
FROM worker_handlers h
LEFT JOIN open o ON o.handler_id = h.handler_id
CROSS JOIN LATERAL (
    SELECT count(*) AS ready, min(first.ready_at) AS oldest
    FROM (SELECT t.ready_at FROM tasks t
          WHERE t.handler_id = h.handler_id AND t.ready_at <= now()
          ORDER BY t.ready_at LIMIT $2) first
) r
CROSS JOIN LATERAL (
    SELECT COALESCE(sum(first.untaken), 0)::bigint AS ready, min(first.ready_at) AS oldest
    FROM (SELECT b.ready_at, b.untaken FROM task_batches b
          WHERE b.handler_id = h.handler_id AND b.ready_at IS NOT NULL
          ORDER BY b.ready_at LIMIT 1 + $2 / 50) first
) b
WHERE $1::text IS NULL OR h.queue = $1
ORDER BY h.queue, h.name
