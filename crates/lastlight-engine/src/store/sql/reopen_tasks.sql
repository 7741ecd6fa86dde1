-- Reopens the next $4 batches of a stage after batch $3: the tasks in them that did not succeed, and that no user skipped, are
-- to run again, and the batches are unsent, or the tasks are ready if they are for workers. Returns the number of batches, the last one, and the
-- number of tasks. The job is finished and the stage closed during this, so that nobody claims or
-- skips any of the tasks. $5: the states of tasks that are reopened; $6: the states from which a
-- job may be retried. Tasks and batches are found by their whole keys, taken from the rows before
-- them, not by $1 and $2: otherwise a plan made on empty tables would read the whole stage for
-- each. Locks: the job's row, the tasks' rows in key order, the batches', then the stage's. Index:
-- task_batches_pkey, tasks_pkey.
WITH job AS (
    SELECT j.job_id, j.attempts_before + 1 AS first
    FROM jobs j
    JOIN stages s ON s.job_id = j.job_id AND s.stage = $2 AND s.advanced_at IS NOT NULL
    WHERE j.job_id = $1 AND j.status::text = ANY ($6) AND j.purging_at IS NULL
    FOR UPDATE OF j
), chosen AS (
    SELECT b.job_id, b.stage, b.batch_no, b.task_ids, job.first
    FROM task_batches b
    JOIN job ON job.job_id = b.job_id
    WHERE b.job_id = $1 AND b.stage = $2 AND b.batch_no > $3
    ORDER BY b.batch_no
    LIMIT $4
), named AS MATERIALIZED (
    SELECT c.job_id, c.stage, c.batch_no, c.first, id.task_id
    FROM chosen c
    CROSS JOIN UNNEST(c.task_ids) AS id (task_id)
), given_up AS (
    SELECT n.job_id, n.stage, n.batch_no, n.first, t.task_id, t.status
    FROM named n
    JOIN tasks t ON t.parent_job_id = n.job_id AND t.stage = n.stage AND t.task_id = n.task_id
    WHERE t.status::text = ANY ($5) AND t.skipped_by_user IS NOT TRUE
    ORDER BY t.task_id
    FOR UPDATE OF t
), reopened AS (
    UPDATE tasks t
    -- The first attempt at a task for workers may be part of a claim of its batch, so its number is not given again.
    SET status = 'queued', attempt = GREATEST(t.attempt, CASE WHEN t.handler_id IS NOT NULL THEN g.first ELSE 0 END),
        attempts_forgiven = GREATEST(t.attempt, CASE WHEN t.handler_id IS NOT NULL THEN g.first ELSE 0 END), result_data = NULL, error_details = NULL, due_at = NULL,
        lease_until = NULL, next_send_at = NULL, finished_at = NULL, poisoned = NULL,
        ready_at = CASE WHEN t.handler_id IS NOT NULL THEN now() END, updated_at = now()
    FROM given_up g
    WHERE t.parent_job_id = g.job_id AND t.stage = g.stage AND t.task_id = g.task_id AND t.status::text = ANY ($5)
      AND t.skipped_by_user IS NOT TRUE
    RETURNING g.job_id, g.stage, g.batch_no, g.status, t.handler_id
), unsent AS (
    UPDATE task_batches b
    SET status = 'pending_queue', next_send_at = now()
    FROM (SELECT DISTINCT job_id, stage, batch_no FROM reopened WHERE handler_id IS NULL) r
    WHERE b.job_id = r.job_id AND b.stage = r.stage AND b.batch_no = r.batch_no
), counted AS (
    UPDATE stages s
    SET failed = s.failed - c.failed, skipped = s.skipped - c.skipped, updated_at = now()
    FROM (SELECT count(*) FILTER (WHERE status = 'failed') AS failed,
                 count(*) FILTER (WHERE status = 'skipped') AS skipped
          FROM reopened) c
    WHERE s.job_id = $1 AND s.stage = $2 AND c.failed + c.skipped > 0
)
SELECT (SELECT count(*) FROM chosen) AS "batches!", (SELECT max(batch_no) FROM chosen) AS last,
       (SELECT count(*) FROM reopened) AS "tasks!"
