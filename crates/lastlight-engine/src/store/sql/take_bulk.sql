-- Takes the oldest open bulk operation that nobody carries out, for $2 seconds; $1: the new owner. Locks: its row; one that another
-- process holds is skipped. Index: bulk_operations_open, bulk_operations_pkey.
UPDATE bulk_operations o
SET lease_owner = $1, lease_until = now() + make_interval(secs => $2)
WHERE o.operation_id = (
    SELECT operation_id FROM bulk_operations
    WHERE finished_at IS NULL AND (lease_until IS NULL OR lease_until < now())
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING o.operation_id, o.action AS "action: BulkAction", o.filter AS "filter: JsonText", o.requested_by, o.reason, o.created_at,
          o.list, o.after_time, o.after_job_id AS "after_job_id: JobId"
