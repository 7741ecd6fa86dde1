-- Skips the next $4 open tasks of an open stage, after the id $3. Runs after finished_job.sql in
-- one transaction, so that the job stays finished meanwhile. Returns their number and the last id.
-- $5: the states from which that is legal. Locks: the tasks' rows in key order, then the stage's
-- row. Index: tasks_pkey, stages_pkey.
WITH open AS (
    SELECT t.parent_job_id, t.stage, t.task_id
    FROM tasks t
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id > $3 AND t.status::text = ANY ($5)
      AND EXISTS (SELECT FROM stages s WHERE s.job_id = $1 AND s.stage = $2 AND s.advanced_at IS NULL)
    ORDER BY t.task_id
    LIMIT $4
    FOR UPDATE OF t
), skipped AS (
    UPDATE tasks t
    SET status = 'skipped', skipped_by_user = NULL, lease_until = NULL, due_at = NULL, next_send_at = NULL, ready_at = NULL, updated_at = now(),
        finished_at = now()
    FROM open o
    -- By the whole key of the rows that were read, not by $1 and $2: otherwise a plan made on empty
    -- tables would read the whole stage for each.
    WHERE t.parent_job_id = o.parent_job_id AND t.stage = o.stage AND t.task_id = o.task_id AND t.status::text = ANY ($5)
    RETURNING t.task_id
), counted AS (
    UPDATE stages s
    SET skipped = s.skipped + c.skipped, updated_at = now()
    FROM (SELECT count(*) AS skipped FROM skipped HAVING count(*) > 0) c
    WHERE s.job_id = $1 AND s.stage = $2
)
SELECT count(*) AS "skipped!", max(task_id) AS last FROM skipped
