-- The handlers that have ready tasks, and that no worker has asked for in the last $1 seconds; at most 20. Index: tasks_ready,
-- task_batches_ready.
SELECT h.queue, h.name, h.served_at IS NOT NULL AS "was_served!"
FROM worker_handlers h
WHERE (h.served_at IS NULL OR h.served_at < now() - make_interval(secs => $1))
  AND (EXISTS (SELECT FROM tasks t WHERE t.handler_id = h.handler_id AND t.ready_at <= now())
       OR EXISTS (SELECT FROM task_batches b WHERE b.handler_id = h.handler_id AND b.ready_at IS NOT NULL))
ORDER BY h.queue, h.name
LIMIT 20
