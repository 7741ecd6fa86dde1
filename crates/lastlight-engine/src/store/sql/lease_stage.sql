-- Takes the lease to plan a stage, unless it is planned, another planner's lease is valid, or the
-- job is finished or paused, or the stage is not ready. The job changes to processing with it; a pause
-- that is requested at this moment then takes effect at the end of the stage, but not in a graph, where
-- it has deleted the job messages of other stages. $4: lease in seconds; $5: the states from
-- which a job may start; $6: those in which it runs. Returns the index of the task at the end of what
-- is planned. Locks: the stage's row, then the job's. Index: stages_pkey, jobs_pkey,
-- task_batches_pkey, tasks_pkey.
WITH leased AS (
    UPDATE stages s
    SET lease_owner = $3, lease_until = now() + make_interval(secs => $4), updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND planned_at IS NULL AND advanced_at IS NULL
      AND (s.kind IS NULL OR s.kind = 'tasks' AND s.waits_for = 0)
      AND (lease_owner IS NULL OR lease_until < now())
      AND EXISTS (SELECT FROM jobs j WHERE j.job_id = $1 AND j.status::text = ANY ($6) AND j.paused_at IS NULL)
    RETURNING job_id, plan_cursor
), started AS (
    UPDATE jobs
    SET status = 'processing', paused_at = CASE WHEN open_stages IS NOT NULL THEN paused_at END, updated_at = now()
    WHERE job_id = (SELECT job_id FROM leased) AND status::text = ANY ($5)
), newest AS MATERIALIZED (
    SELECT b.job_id, b.stage, b.task_ids[cardinality(b.task_ids)] AS task_id
    FROM task_batches b
    WHERE b.job_id = $1 AND b.stage = $2
    ORDER BY b.batch_no DESC
    LIMIT 1
)
-- Tasks of a stage of which nothing is planned belong to a deleted job with the same id. The newest
-- batch is older than the cursor if the planner before committed while this statement began.
SELECT plan_cursor,
       plan_cursor = 0 AND EXISTS (SELECT FROM tasks t WHERE t.parent_job_id = $1 AND t.stage = $2) AS "is_littered!",
       (SELECT t.task_index FROM newest n
        JOIN tasks t ON t.parent_job_id = n.job_id AND t.stage = n.stage AND t.task_id = n.task_id
        WHERE t.ordinal = leased.plan_cursor - 1) AS newest_index
FROM leased
