-- All that a task's message says. Index: tasks_pkey, jobs_pkey.
SELECT t.task_id, t.job_type, t.task_type, t.task_index, t.parent_task_id, t.parameters, t.attempt, t.retry_count,
       j.processing_path, j.traceparent
FROM tasks t
JOIN jobs j ON j.job_id = t.parent_job_id
WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = $3
