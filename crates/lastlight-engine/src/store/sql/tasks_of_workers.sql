-- The tasks that some workers run: of the attempts that their last heartbeat named, those that still hold
-- their tasks. A claim writes updated_at, and a heartbeat does not. Each task is read by its whole key
-- (LIMIT 1): otherwise a plan made on empty tables would read all tasks. Index: workers_pkey, tasks_pkey,
-- task_notes_pkey.
SELECT w.worker_id, t.parent_job_id AS "job_id!", t.job_type AS "job_type!", t.stage AS "stage!",
       t.task_type AS "node!", t.task_id AS "task_id!", t.attempt AS "attempt!", t.updated_at AS "since!",
       n.progress AS "progress?", n.message AS "message?"
FROM workers w
CROSS JOIN LATERAL json_to_recordset(w.running) AS r (job_id text, stage smallint, task_id text, attempt smallint)
CROSS JOIN LATERAL (
    SELECT o.parent_job_id, o.job_type, o.stage, o.task_type, o.task_id, o.attempt, o.updated_at
    FROM tasks o
    WHERE o.parent_job_id = r.job_id AND o.stage = r.stage AND o.task_id = r.task_id
      AND o.attempt = r.attempt AND o.status = 'processing'
    LIMIT 1
) t
LEFT JOIN LATERAL (
    SELECT o.progress, o.message FROM task_notes o
    WHERE o.job_id = t.parent_job_id AND o.stage = t.stage AND o.task_id = t.task_id AND o.attempt = t.attempt
    LIMIT 1
) n ON true
WHERE w.worker_id = ANY ($1)
ORDER BY w.worker_id, t.updated_at, t.task_id
