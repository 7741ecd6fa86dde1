-- Removes workers that were not seen for $1 seconds. Reads the whole table, which has one row per
-- worker. Skips rows that are locked.
DELETE FROM workers
WHERE worker_id IN (
    SELECT worker_id FROM workers WHERE seen_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED)
