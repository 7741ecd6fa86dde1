-- The tasks that some workers run: of the attempts that their last heartbeat named, those that still hold
-- their tasks. A claim writes updated_at, and a heartbeat does not. Index: workers_pkey, tasks_pkey,
-- task_notes_pkey.
SELECT w.worker_id, t.parent_job_id AS job_id, t.job_type, t.stage, t.task_type AS node, t.task_id, t.attempt,
       t.updated_at AS since, n.progress AS "progress?", n.message AS "message?"
FROM workers w
CROSS JOIN LATERAL json_to_recordset(w.running) AS r (job_id text, stage smallint, task_id text, attempt smallint)
JOIN tasks t ON t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
            AND t.attempt = r.attempt AND t.status = 'processing'
LEFT JOIN task_notes n ON n.job_id = t.parent_job_id AND n.stage = t.stage AND n.task_id = t.task_id
                      AND n.attempt = t.attempt
WHERE w.worker_id = ANY ($1)
ORDER BY w.worker_id, t.updated_at, t.task_id
