-- Fails tasks of one stage whose messages could not be delivered, in key order: their number, and
-- whether the stage has ended with it; no row if it is none. What an attempt holds, what was tried
-- since it was looked at ($4) and what has its outcome stays as it is, and so does everything of a
-- job that is over. $5: the reason; $6: the states from which that is legal; $7: the states in
-- which a job runs. Each task is found by its whole key, which stands beside its id: a plan made on
-- empty tables would read the stage for it. Locks: the tasks' rows in key order, then the stage's
-- row. Index: tasks_pkey, jobs_pkey, stages_pkey.
WITH given_up AS MATERIALIZED (
    SELECT $1::text AS job_id, $2::smallint AS stage, g.task_id, g.attempt
    FROM UNNEST($3::text[], $4::integer[]) AS g (task_id, attempt)
    ORDER BY g.task_id COLLATE "C"
), written AS (
    UPDATE tasks t
    SET status = 'failed', error_details = $5, due_at = NULL, lease_until = NULL, next_send_at = NULL, updated_at = now(),
        finished_at = now()
    FROM given_up g
    WHERE t.parent_job_id = g.job_id AND t.stage = g.stage AND t.task_id = g.task_id AND t.attempt = g.attempt
      AND (SELECT j.status::text = ANY ($7) FROM jobs j WHERE j.job_id = $1)
      AND t.status::text = ANY ($6) AND (t.lease_until IS NULL OR t.lease_until <= now())
    RETURNING t.task_id
)
UPDATE stages s
SET failed = s.failed + w.failed, updated_at = now()
FROM (SELECT count(*) AS failed FROM written HAVING count(*) > 0) w
WHERE s.job_id = $1 AND s.stage = $2
RETURNING w.failed, s.planned_at IS NOT NULL AND s.completed + s.failed + s.skipped = s.total AS ended
