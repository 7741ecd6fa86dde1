-- Stops an open bulk operation; $2: who asks. Says whether it was open. Locks: its row. Index: bulk_operations_pkey.
UPDATE bulk_operations
SET finished_at = now(), is_stopped = true, stopped_by = $2
WHERE operation_id = $1 AND finished_at IS NULL
RETURNING operation_id
