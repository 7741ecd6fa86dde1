-- Removes processes that have not reported for $1 seconds. Reads the whole table, which has one row
-- per process. Locks those rows, in no particular order: their processes no longer write them, and
-- rows that another sweep has locked are skipped.
DELETE FROM instances
WHERE instance_id IN (
    SELECT instance_id FROM instances WHERE seen_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED)
