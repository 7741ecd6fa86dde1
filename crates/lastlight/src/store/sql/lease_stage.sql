-- Takes the lease to plan a stage, unless it is planned, another planner's lease is valid, or the
-- job is finished or paused. The job changes to processing with it; a pause that is requested at
-- this moment then takes effect at the end of the stage. $4: lease in seconds; $5: the states from
-- which a job may start; $6: those in which it runs. Locks: the stage's row, then the job's. Index:
-- stages_pkey, jobs_pkey, tasks_pkey.
WITH leased AS (
    UPDATE stages
    SET lease_owner = $3, lease_until = now() + make_interval(secs => $4), updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND planned_at IS NULL AND advanced_at IS NULL
      AND (lease_owner IS NULL OR lease_until < now())
      AND EXISTS (SELECT FROM jobs j WHERE j.job_id = $1 AND j.status::text = ANY ($6) AND j.paused_at IS NULL)
    RETURNING job_id, plan_cursor
), started AS (
    UPDATE jobs
    SET status = 'processing', paused_at = NULL, updated_at = now()
    WHERE job_id = (SELECT job_id FROM leased) AND status::text = ANY ($5)
)
-- Tasks of a stage of which nothing is planned belong to a deleted job with the same id.
SELECT plan_cursor,
       plan_cursor = 0 AND EXISTS (SELECT FROM tasks t WHERE t.parent_job_id = $1 AND t.stage = $2) AS is_littered
FROM leased
