-- Notes the progress of a bulk operation that $2 carries out, and extends its lease to $3 seconds from now; 0: it is released. $4, $5:
-- jobs that were changed and refused since; $6: why the last one was refused; $7 to $9: the position; $10: it is finished. No row: it was
-- stopped, or somebody else carries it out. Locks: its row. Index: bulk_operations_pkey.
UPDATE bulk_operations
SET done = done + $4, refused = refused + $5, last_refusal = COALESCE($6, last_refusal), list = $7, after_time = $8,
    after_job_id = $9, lease_until = now() + make_interval(secs => $3), finished_at = CASE WHEN $10 THEN now() END
WHERE operation_id = $1 AND lease_owner = $2 AND finished_at IS NULL
RETURNING operation_id
