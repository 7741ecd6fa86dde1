-- Deletes up to $2 tasks of a job that is marked for deletion, with what attempts said, in key order. Returns their number, whether there may be
-- more, and whether the job could be locked: only one process deletes a job at a time. The highest number of an attempt is kept with the job, for a later run. Locks: the job's row, skips it if it is locked;
-- then the tasks' rows. Nothing is deleted of a run that is not in the archive, if this process has one ($3), or another one that is known has.
-- Reads instances, which has one row per process. Index: jobs_pkey, tasks_pkey, task_notes_pkey.
WITH job AS MATERIALIZED (
    SELECT j.job_id
    FROM jobs j
    WHERE j.job_id = $1 AND j.purging_at IS NOT NULL
      AND (j.archived_run >= j.run OR NOT $3 AND NOT EXISTS (SELECT FROM instances i WHERE i.archives))
    FOR UPDATE SKIP LOCKED
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
    -- The first attempt of a claim by a worker may not be counted in its task.
    RETURNING GREATEST(t.attempt, CASE WHEN t.handler_id IS NOT NULL THEN COALESCE(t.attempts_forgiven, 0) + 1 END) AS attempt
), counted AS (
    UPDATE jobs j
    SET attempts_before = h.highest
    FROM (SELECT max(attempt) AS highest FROM purged) h
    WHERE j.job_id = $1 AND h.highest > j.attempts_before
)
SELECT (SELECT count(*) FROM purged) AS "tasks!", (SELECT count(*) FROM chosen) = $2 AS "has_more!", EXISTS (SELECT FROM job) AS "is_held!"
