-- Writes that workers were seen: for what they ask, if they asked, and what they run, if a heartbeat
-- said so. $1: a JSON array of objects, one per worker, ordered by its id. Index: workers_pkey. Locks:
-- the workers' rows in key order.
INSERT INTO workers AS w (worker_id, queue, handlers, running)
SELECT s.worker_id, COALESCE(s.queue, ''), COALESCE(s.handlers, '{}'), 
       COALESCE(s.running, (SELECT before.running FROM workers before WHERE before.worker_id = s.worker_id), '[]')
FROM json_to_recordset($1::text::json) AS s (worker_id text, queue text, handlers text[], running json)
ON CONFLICT (worker_id) DO UPDATE SET
    seen_at = now(),
    queue = CASE WHEN EXCLUDED.queue = '' THEN w.queue ELSE EXCLUDED.queue END,
    handlers = CASE WHEN EXCLUDED.queue = '' THEN w.handlers ELSE EXCLUDED.handlers END,
    running = EXCLUDED.running
