-- Which of some handlers no worker has ever asked for: $1 queues and $2 names. Index:
-- worker_handlers_queue_name_key.
SELECT w.queue AS "queue!", w.name AS "name!"
FROM UNNEST($1::text[], $2::text[]) AS w (queue, name)
WHERE NOT EXISTS (SELECT FROM worker_handlers h
                  WHERE h.queue = w.queue AND h.name = w.name AND h.served_at IS NOT NULL)
