-- Deletes up to 1,000 bulk operations that ended more than $1 seconds ago. Locks: their rows. Index: bulk_operations_newest,
-- bulk_operations_pkey.
DELETE FROM bulk_operations
WHERE operation_id IN (
    SELECT operation_id FROM bulk_operations
    WHERE created_at < now() - make_interval(secs => $1) AND finished_at < now() - make_interval(secs => $1)
    ORDER BY created_at LIMIT 1000)
