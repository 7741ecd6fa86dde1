-- Removes up to $2 tasks of a job that does not exist. If the job is submitted again at this
-- moment, the tasks that its planner writes are kept: they are not in the snapshot of this
-- statement, and those that are in it were removed by the planner, or the planner waits for their
-- removal. Locks: the tasks' rows in key order; skips rows that are locked. Index: tasks_pkey,
-- jobs_pkey.
WITH orphans AS MATERIALIZED (
    SELECT t.parent_job_id, t.stage, t.task_id
    FROM tasks t
    WHERE t.parent_job_id = $1 AND NOT EXISTS (SELECT FROM jobs j WHERE j.job_id = $1)
    ORDER BY t.stage, t.task_id
    LIMIT $2
    FOR UPDATE OF t SKIP LOCKED
)
DELETE FROM tasks t
USING orphans o
WHERE t.parent_job_id = o.parent_job_id AND t.stage = o.stage AND t.task_id = o.task_id
