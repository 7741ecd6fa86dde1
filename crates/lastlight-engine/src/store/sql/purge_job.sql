-- Deletes a job that is marked for deletion and has no tasks and batches any more, and no event that is still to be told; its stages,
-- unsent messages, events and terms (at most 50) go with it. If it was over for less than 14 days, the longest time that a queue keeps
-- messages by default, its id is kept, with what a later run must know. Not if its run is not in the archive, and this process has one ($2) or
-- another one that is known has. Reads instances, which has one row per process. Returns its id. Locks: the job's row. Index: jobs_pkey, tasks_pkey,
-- task_batches_pkey, job_events_pkey, notification_events_pkey, deleted_jobs_pkey, job_terms_pkey.
WITH gone AS (
    DELETE FROM jobs j
    WHERE j.job_id = $1 AND j.purging_at IS NOT NULL AND NOT j.is_resubmitted
      AND (j.archived_run >= j.run OR NOT $2 AND NOT EXISTS (SELECT FROM instances i WHERE i.archives))
      AND NOT EXISTS (SELECT FROM tasks t WHERE t.parent_job_id = $1)
      AND NOT EXISTS (SELECT FROM task_batches b WHERE b.job_id = $1)
      AND NOT EXISTS (SELECT FROM notification_events n WHERE n.job_id = $1)
    RETURNING j.job_id, j.finished_at, j.run, j.attempts_before
), events AS (
    DELETE FROM job_events e USING gone WHERE e.job_id = gone.job_id
), noted AS (
    INSERT INTO deleted_jobs (job_id, run, attempts_before)
    SELECT job_id, run, attempts_before FROM gone WHERE finished_at > now() - interval '14 days'
    ON CONFLICT (job_id) DO UPDATE
    SET deleted_at = now(), run = EXCLUDED.run, attempts_before = EXCLUDED.attempts_before
)
SELECT job_id FROM gone
