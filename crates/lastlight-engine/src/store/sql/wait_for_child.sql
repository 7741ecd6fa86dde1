-- Notes which job ($3) a stage waits for, and at that job that someone waits for it. Locks: the stage's
-- row, then the other job's. Index: stages_pkey, jobs_pkey.
WITH waiting AS (
    UPDATE stages s
    SET child_job_id = $3, updated_at = now()
    WHERE s.job_id = $1 AND s.stage = $2 AND s.kind = 'job' AND s.waits_for = 0
      AND s.planned_at IS NULL AND s.advanced_at IS NULL AND s.child_job_id IS NULL
    RETURNING s.child_job_id
), child AS (
    UPDATE jobs j SET is_child = true FROM waiting w WHERE j.job_id = w.child_job_id AND j.is_child IS NOT TRUE
)
SELECT EXISTS (SELECT FROM waiting) AS "waits!"
