-- Skips those of the next $4 tasks of a stage for good, from the id $3 on, that have one of the states $5, and whose error contains $6
-- (null: any); $8: only this one. In an open stage of a job that runs ($7: its states) they are open or have failed; in a closed stage of
-- a job that may be retried ($10: its states) they are those that a retry would run again. Returns how many tasks were looked at, the
-- last of them, how many were meant, how many were changed, and whether the stage has ended with them. Locks: as retry_tasks.sql. Index:
-- tasks_pkey, stages_pkey, jobs_pkey.
WITH looked AS MATERIALIZED (
    SELECT t.task_id
    FROM tasks t
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id >= $3
    ORDER BY t.task_id
    LIMIT $4
), meant AS MATERIALIZED (
    SELECT t.parent_job_id, t.stage, t.task_id, t.status
    FROM tasks t
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id >= $3 AND t.task_id <= (SELECT max(l.task_id) FROM looked l)
      AND t.status::text = ANY ($5) AND t.skipped_by_user IS NOT TRUE AND ($6::text IS NULL OR strpos(t.error_details, $6) > 0)
      AND ($8::text IS NULL OR t.task_id = $8)
    ORDER BY t.task_id
    FOR UPDATE
), held AS MATERIALIZED (
    SELECT s.advanced_at IS NOT NULL AS is_closed
    FROM stages s
    WHERE s.job_id = $1 AND s.stage = $2 AND (SELECT count(*) FROM meant) > 0
    FOR UPDATE
), job AS MATERIALIZED (
    SELECT j.job_id, (SELECT h.is_closed FROM held h) AS is_closed
    FROM jobs j
    WHERE j.job_id = $1
      AND CASE (SELECT h.is_closed FROM held h)
          WHEN true THEN j.status::text = ANY ($10) AND j.purging_at IS NULL
          WHEN false THEN j.status::text = ANY ($7)
          ELSE false
      END
    FOR SHARE SKIP LOCKED
), skipped AS (
    UPDATE tasks t
    SET status = 'skipped', skipped_by_user = true, lease_until = NULL, due_at = NULL, next_send_at = NULL, ready_at = NULL,
        poisoned = NULL, updated_at = now(), finished_at = COALESCE(t.finished_at, now())
    FROM meant m
    CROSS JOIN job
    WHERE t.parent_job_id = m.parent_job_id AND t.stage = m.stage AND t.task_id = m.task_id
      AND CASE WHEN job.is_closed THEN m.status IN ('failed', 'skipped') ELSE m.status <> 'skipped' END
    RETURNING m.status
), counts AS MATERIALIZED (
    SELECT count(*) AS changed, count(*) FILTER (WHERE status = 'failed') AS failed, count(*) FILTER (WHERE status <> 'skipped') AS skipped
    FROM skipped
), counted AS (
    UPDATE stages s
    SET failed = s.failed - c.failed, skipped = s.skipped + c.skipped, updated_at = now()
    FROM counts c
    WHERE s.job_id = $1 AND s.stage = $2 AND c.changed > 0
    RETURNING s.advanced_at IS NULL AND s.planned_at IS NOT NULL AND s.completed + s.failed + s.skipped = s.total AS ended
), noted AS (
    SELECT note_task_change($1, $2, 'tasks_skipped', c.changed, $9::json) FROM counts c WHERE c.changed > 0
)
SELECT (SELECT count(*) FROM looked) AS "looked!", (SELECT max(task_id) FROM looked) AS last, (SELECT count(*) FROM meant) AS "meant!",
       (SELECT changed FROM counts) AS "changed!", COALESCE((SELECT ended FROM counted), false) AS "ended!",
       (SELECT count(*) FROM noted) AS "events!"
