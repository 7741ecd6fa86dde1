-- Removes processes that said nothing for $1 seconds. Reads the whole table, which has a row a
-- process. Locks those rows, in no order: whose row it is writes it no more, and another sweep's
-- are skipped.
DELETE FROM instances
WHERE instance_id IN (
    SELECT instance_id FROM instances WHERE seen_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED)
