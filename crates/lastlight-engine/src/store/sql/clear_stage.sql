-- Removes up to $4 tasks of a stage of which nothing is planned: they belong to a job with the same
-- id that was deleted by hand. Has an effect only while $3 holds the stage's lease. Locks: the
-- stage's row, then the tasks' rows in key order. Index: stages_pkey, tasks_pkey.
WITH held AS MATERIALIZED (
    SELECT s.job_id, s.stage
    FROM stages s
    WHERE s.job_id = $1 AND s.stage = $2 AND s.lease_owner = $3 AND s.plan_cursor = 0 AND s.planned_at IS NULL
    FOR UPDATE
), orphans AS MATERIALIZED (
    SELECT t.parent_job_id, t.stage, t.task_id
    FROM tasks t
    WHERE t.parent_job_id = (SELECT held.job_id FROM held) AND t.stage = (SELECT held.stage FROM held)
    ORDER BY t.task_id
    LIMIT $4
    FOR UPDATE OF t
)
DELETE FROM tasks t
USING orphans o
WHERE t.parent_job_id = o.parent_job_id AND t.stage = o.stage AND t.task_id = o.task_id
