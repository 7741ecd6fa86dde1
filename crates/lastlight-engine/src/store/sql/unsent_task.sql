-- The content of a task's message. Parameters that are too large for a message are not read. Index:
-- tasks_pkey, jobs_pkey.
SELECT t.task_id, t.job_type, t.task_type, t.task_index, t.parent_task_id,
       CASE WHEN octet_length(t.parameters::text) <= 8192 THEN t.parameters ELSE '{}' END AS "parameters!",
       t.attempt, t.retry_count AS resends, j.processing_path AS path, COALESCE(j.traceparent, '') AS "trace!: StoredTrace"
FROM tasks t
JOIN jobs j ON j.job_id = t.parent_job_id
WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = $3
