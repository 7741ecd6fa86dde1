-- Writes that workers ask for the tasks of handlers: $1 queues and $2 names, in order. Index:
-- worker_handlers_queue_name_key. Locks: the rows in key order.
INSERT INTO worker_handlers (queue, name, served_at)
SELECT s.queue, s.name, now()
FROM UNNEST($1::text[], $2::text[]) AS s (queue, name)
ORDER BY s.queue, s.name
ON CONFLICT (queue, name) DO UPDATE SET served_at = EXCLUDED.served_at
