-- Number of ready tasks of some handlers of a queue, counted up to $3 for each handler. Each handler is
-- read by a subquery: otherwise a plan made on empty tables would read all ready tasks. Index:
-- worker_handlers_queue_name_key, tasks_ready.
SELECT COALESCE(sum((SELECT count(*) FROM (
           SELECT FROM tasks t WHERE t.handler_id = h.handler_id AND t.ready_at <= now() LIMIT $3) AS first)), 0)::bigint
       AS "ready!"
FROM worker_handlers h
WHERE h.queue = $1 AND h.name = ANY ($2)
