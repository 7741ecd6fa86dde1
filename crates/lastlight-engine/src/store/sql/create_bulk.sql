-- Stores a bulk operation; the same id twice is one. Locks: the new row only. Index: bulk_operations_pkey, for the conflict.
INSERT INTO bulk_operations (operation_id, action, filter, requested_by, reason, jobs, has_more)
VALUES ($1, $2, $3::json, $4, $5, $6, $7)
ON CONFLICT (operation_id) DO NOTHING
