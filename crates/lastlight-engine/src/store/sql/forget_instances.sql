-- Removes processes that have not reported for $1 seconds, but for the one that reported last: it
-- says whether the app has an archive also while no process runs. Reads the whole table, which has
-- one row per process. Locks those rows, in no particular order: their processes no longer write
-- them, and rows that another sweep has locked are skipped.
DELETE FROM instances
WHERE instance_id IN (
    SELECT instance_id FROM instances
    WHERE seen_at < now() - make_interval(secs => $1) AND seen_at < (SELECT max(seen_at) FROM instances)
    FOR UPDATE SKIP LOCKED)
