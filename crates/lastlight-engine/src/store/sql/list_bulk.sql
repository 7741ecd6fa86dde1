-- The newest $1 bulk operations, or the one with the id $2. Locks nothing. Index: bulk_operations_newest, bulk_operations_pkey.
SELECT operation_id, action AS "action: BulkAction", filter AS "filter: JsonText", requested_by, reason, created_at, jobs, has_more, done, refused, last_refusal,
       finished_at, is_stopped, stopped_by
FROM bulk_operations
WHERE $2::uuid IS NULL OR operation_id = $2
ORDER BY created_at DESC
LIMIT $1
