-- Number of ready tasks of some handlers of a queue, on their own and in batches, counted up to about $3 for each handler.
-- Each handler is read by a subquery: otherwise a plan made on empty tables would read all ready tasks. Index:
-- worker_handlers_queue_name_key, tasks_ready, task_batches_ready.
SELECT COALESCE(sum((SELECT count(*) FROM (
           SELECT FROM tasks t WHERE t.handler_id = h.handler_id AND t.ready_at <= now() LIMIT $3) AS first)
         + (SELECT COALESCE(sum(first.untaken), 0) FROM (
           SELECT b.untaken FROM task_batches b WHERE b.handler_id = h.handler_id AND b.ready_at IS NOT NULL
           LIMIT 1 + $3 / 50) AS first)), 0)::bigint
       AS "ready!"
FROM worker_handlers h
WHERE h.queue = $1 AND h.name = ANY ($2)
