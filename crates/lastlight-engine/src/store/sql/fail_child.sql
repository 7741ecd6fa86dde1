-- Ends a stage whose job could not be submitted, or, if it waits for the job $5, cannot be waited for; $3: the reason, as JSON.
-- Locks: the stage's row. Index: stages_pkey.
UPDATE stages s
SET planned_at = now(), decision = $4, output = $3::json, updated_at = now()
WHERE s.job_id = $1 AND s.stage = $2 AND s.kind = 'job' AND s.waits_for = 0
  AND s.planned_at IS NULL AND s.advanced_at IS NULL AND (s.child_job_id IS NULL OR s.child_job_id = $5)
