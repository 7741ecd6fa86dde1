-- The tasks of a stage are not ready with their batches any more, because the job is finished. Locks: the batches' rows.
-- Index: task_batches_pkey.
UPDATE task_batches
SET ready_at = NULL
WHERE job_id = $1 AND stage = $2 AND ready_at IS NOT NULL
