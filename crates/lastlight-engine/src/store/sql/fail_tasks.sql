-- Fails tasks of one stage whose messages could not be delivered, in key order. Returns their
-- number, and whether the stage has ended with them; no row if no task failed. A task stays
-- unchanged if an attempt holds it, if it was attempted since it was examined ($4), if it has its
-- outcome, if its job is finished, or if it is for workers, which need no message. $5: the reason; $6: the states from which that is legal; $7:
-- the states in which a job runs. Each task is found by its whole key, with job and stage beside
-- the id in one row: otherwise a plan made on empty tables would read the whole stage for each.
-- Locks: the tasks' rows in key order, then the stage's row. Index: tasks_pkey, jobs_pkey,
-- stages_pkey.
WITH given_up AS MATERIALIZED (
    SELECT $1::text AS job_id, $2::smallint AS stage, g.task_id, g.attempt
    FROM UNNEST($3::text[], $4::integer[]) AS g (task_id, attempt)
    ORDER BY g.task_id COLLATE "C"
), written AS (
    UPDATE tasks t
    SET status = 'failed', error_details = $5, due_at = NULL, lease_until = NULL, next_send_at = NULL, updated_at = now(),
        finished_at = now()
    FROM given_up g
    WHERE t.parent_job_id = g.job_id AND t.stage = g.stage AND t.task_id = g.task_id AND t.attempt = g.attempt AND t.handler_id IS NULL
      AND (SELECT j.status::text = ANY ($7) FROM jobs j WHERE j.job_id = $1)
      AND t.status::text = ANY ($6) AND (t.lease_until IS NULL OR t.lease_until <= now())
    RETURNING t.task_id
)
UPDATE stages s
SET failed = s.failed + w.failed, updated_at = now()
FROM (SELECT count(*) AS failed FROM written HAVING count(*) > 0) w
WHERE s.job_id = $1 AND s.stage = $2
RETURNING w.failed AS "failed!", s.planned_at IS NOT NULL AND s.completed + s.failed + s.skipped = s.total AS "ended!"
