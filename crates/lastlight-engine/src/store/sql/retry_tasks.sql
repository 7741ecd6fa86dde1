-- Makes those of the next $4 tasks of an open stage ready to run again, from the id $3 on, that failed or were skipped by a user ($5: their
-- states), and whose error contains $6 (null: any); $8: only this one. $7: the states in which a job runs. Returns how many tasks were
-- looked at, the last of them, how many were meant, and how many were changed: none if the stage has ended, the job is over, or somebody
-- else changes the job at the moment. Locks: the tasks' rows in key order, the stage's row, the job's row (shared; if it is locked,
-- nothing changes, so that this never waits for whoever waits for the stage), then the batches'. Index: tasks_pkey, stages_pkey,
-- jobs_pkey, task_batches_pkey.
WITH looked AS MATERIALIZED (
    SELECT t.task_id
    FROM tasks t
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id >= $3
    ORDER BY t.task_id
    LIMIT $4
), meant AS MATERIALIZED (
    SELECT t.parent_job_id, t.stage, t.task_id, t.status, t.handler_id, t.batch_id
    FROM tasks t
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id >= $3 AND t.task_id <= (SELECT max(l.task_id) FROM looked l)
      AND t.status::text = ANY ($5) AND ($6::text IS NULL OR strpos(t.error_details, $6) > 0)
      AND ($8::text IS NULL OR t.task_id = $8)
    ORDER BY t.task_id
    FOR UPDATE
), open AS MATERIALIZED (
    SELECT s.job_id
    FROM stages s
    WHERE s.job_id = $1 AND s.stage = $2 AND s.advanced_at IS NULL AND (SELECT count(*) FROM meant) > 0
    FOR UPDATE
), job AS MATERIALIZED (
    SELECT j.job_id, j.attempts_before + 1 AS first
    FROM jobs j
    WHERE j.job_id = $1 AND j.status::text = ANY ($7) AND (SELECT count(*) FROM open) > 0
    FOR SHARE SKIP LOCKED
), reopened AS (
    UPDATE tasks t
    -- As in reopen_tasks.sql.
    SET status = 'queued', attempt = GREATEST(t.attempt, CASE WHEN t.handler_id IS NOT NULL THEN job.first ELSE 0 END),
        attempts_forgiven = GREATEST(t.attempt, CASE WHEN t.handler_id IS NOT NULL THEN job.first ELSE 0 END), result_data = NULL,
        error_details = NULL, due_at = NULL, lease_until = NULL, next_send_at = NULL, finished_at = NULL, poisoned = NULL,
        skipped_by_user = NULL, ready_at = CASE WHEN t.handler_id IS NOT NULL THEN now() END, updated_at = now()
    FROM meant m
    CROSS JOIN job
    WHERE t.parent_job_id = m.parent_job_id AND t.stage = m.stage AND t.task_id = m.task_id
    RETURNING m.parent_job_id, m.stage, m.status, m.handler_id, m.batch_id
), unsent AS (
    UPDATE task_batches b
    SET status = 'pending_queue', next_send_at = now()
    FROM (SELECT DISTINCT parent_job_id, stage, split_part(batch_id, '-b', 2)::integer AS batch_no FROM reopened
          WHERE handler_id IS NULL) r
    WHERE b.job_id = r.parent_job_id AND b.stage = r.stage AND b.batch_no = r.batch_no
), counts AS MATERIALIZED (
    SELECT count(*) AS changed, count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status = 'skipped') AS skipped
    FROM reopened
), counted AS (
    UPDATE stages s
    SET failed = s.failed - c.failed, skipped = s.skipped - c.skipped, updated_at = now()
    FROM counts c
    WHERE s.job_id = $1 AND s.stage = $2 AND c.changed > 0
), noted AS (
    SELECT note_task_change($1, $2, 'tasks_retried', c.changed, $9::json) FROM counts c WHERE c.changed > 0
)
SELECT (SELECT count(*) FROM looked) AS "looked!", (SELECT max(task_id) FROM looked) AS last, (SELECT count(*) FROM meant) AS "meant!",
       (SELECT changed FROM counts) AS "changed!", (SELECT count(*) FROM noted) AS "events!"
