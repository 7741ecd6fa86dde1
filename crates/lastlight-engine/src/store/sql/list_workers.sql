-- Workers that were seen in the last $2 seconds, of all queues or of the queue $1. Reads the whole table
-- of workers, which has one row per worker.
SELECT w.worker_id, w.queue, w.handlers, w.started_at, w.seen_at
FROM workers w
WHERE w.seen_at > now() - make_interval(secs => $2) AND ($1::text IS NULL OR w.queue = $1)
ORDER BY w.queue, w.worker_id
LIMIT $3
