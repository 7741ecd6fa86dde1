-- Deletes up to $2 tasks of a job that is marked for deletion, with what attempts said, in key order. Returns their number, whether there may be
-- more, and whether the job could be locked: only one process deletes a job at a time. Locks: the job's row, skips it if it is locked;
-- then the tasks' rows. Index: jobs_pkey, tasks_pkey, task_notes_pkey.
WITH job AS MATERIALIZED (
    SELECT j.job_id FROM jobs j WHERE j.job_id = $1 AND j.purging_at IS NOT NULL FOR UPDATE SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT t.parent_job_id, t.stage, t.task_id
    FROM job
    CROSS JOIN LATERAL (
        SELECT t.parent_job_id, t.stage, t.task_id FROM tasks t
        WHERE t.parent_job_id = job.job_id
        ORDER BY t.stage, t.task_id
        LIMIT $2
    ) t
), notes AS (
    DELETE FROM task_notes n
    USING chosen c
    WHERE n.job_id = c.parent_job_id AND n.stage = c.stage AND n.task_id = c.task_id
), purged AS (
    DELETE FROM tasks t
    USING chosen c
    WHERE t.parent_job_id = c.parent_job_id AND t.stage = c.stage AND t.task_id = c.task_id
    RETURNING t.task_id
)
SELECT (SELECT count(*) FROM purged) AS "tasks!", (SELECT count(*) FROM chosen) = $2 AS "has_more!", EXISTS (SELECT FROM job) AS "is_held!"
