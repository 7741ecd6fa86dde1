-- Marks a job for deletion that is over, whatever its age, or ($2) to run again after its tasks are deleted. A job that is to run again may still
-- be marked for deletion, not the other way round. Returns whether it is marked, now or before, and whether to run again; false: it runs, or it is left for
-- later because it is to run its last stage, a stage is still being closed, or another job waits for its result. No row: there is no
-- such job. Locks: the job's row. Index: jobs_pkey, stages_pkey, stages_of_child.
WITH job AS (
    SELECT j.job_id, j.finished_at, j.purging_at FROM jobs j WHERE j.job_id = $1 FOR UPDATE
), marked AS (
    UPDATE jobs j
    SET purging_at = COALESCE(j.purging_at, now()), is_resubmitted = $2 AND (j.purging_at IS NULL OR j.is_resubmitted)
    FROM job
    WHERE j.job_id = job.job_id AND job.finished_at IS NOT NULL
      AND (job.purging_at IS NOT NULL
           OR NOT EXISTS (
                  SELECT FROM stages s
                  WHERE s.job_id = j.job_id
                    AND (s.advanced_at IS NULL OR s.is_finalize AND s.outcome IS NULL AND s.waits_for > 0))
              AND NOT EXISTS (SELECT FROM stages p WHERE p.child_job_id = j.job_id AND p.advanced_at IS NULL))
    RETURNING j.is_resubmitted
)
SELECT (SELECT is_resubmitted FROM marked) AS runs_again, job.finished_at IS NOT NULL AS "is_over!" FROM job
