-- Deletes the stages and the unsent messages of a job that is marked to run again and has no tasks and batches any more. Returns the job,
-- which the next run has in common with this one; no row: it is not marked, or something is left, or the run is not
-- in the archive, and this process has one ($2) or another one that is known has. Reads instances, which has one row per process. Attempts of the next run count from the
-- highest of all before; from 0 where a smallint would not do, since none of 30,000 attempts ago still runs. Locks: the job's row.
-- Index: jobs_pkey, tasks_pkey, task_batches_pkey, stages_pkey, outbox_pkey.
WITH job AS MATERIALIZED (
    SELECT j.job_id, j.job_type, j.parameters, j.processing_path, j.definition_id, j.run
    FROM jobs j
    WHERE j.job_id = $1 AND j.purging_at IS NOT NULL AND j.is_resubmitted
      AND (j.archived_run >= j.run OR NOT $2 AND NOT EXISTS (SELECT FROM instances i WHERE i.archives))
      AND NOT EXISTS (SELECT FROM tasks t WHERE t.parent_job_id = $1)
      AND NOT EXISTS (SELECT FROM task_batches b WHERE b.job_id = $1)
    FOR UPDATE
), messages AS (
    DELETE FROM outbox o USING job WHERE o.job_id = job.job_id
), stages AS (
    DELETE FROM stages s USING job WHERE s.job_id = job.job_id
), wrapped AS (
    UPDATE jobs j SET attempts_before = 0 FROM job WHERE j.job_id = job.job_id AND j.attempts_before > 30000
)
SELECT job_id FROM job
