-- Locks a stage's row and returns its counters: nobody can record an outcome in the stage until the
-- transaction ends. Index: stages_pkey.
SELECT total, completed, failed, skipped
FROM stages
WHERE job_id = $1 AND stage = $2 AND planned_at IS NOT NULL AND advanced_at IS NULL
FOR UPDATE
