-- Deletes a job that is marked for deletion and has no tasks and batches any more; its stages, its unsent messages and
-- its terms (at most 50) go with it. If it was over for less than 14 days, the longest time that a queue keeps messages
-- by default, its id is kept. Returns its id. Locks: the job's row. Index: jobs_pkey, tasks_pkey, task_batches_pkey,
-- deleted_jobs_pkey, job_terms_pkey.
WITH gone AS (
    DELETE FROM jobs j
    WHERE j.job_id = $1 AND j.purging_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM tasks t WHERE t.parent_job_id = $1)
      AND NOT EXISTS (SELECT FROM task_batches b WHERE b.job_id = $1)
    RETURNING j.job_id, j.finished_at
), noted AS (
    INSERT INTO deleted_jobs (job_id)
    SELECT job_id FROM gone WHERE finished_at > now() - interval '14 days'
    ON CONFLICT (job_id) DO UPDATE SET deleted_at = now()
)
SELECT job_id FROM gone
