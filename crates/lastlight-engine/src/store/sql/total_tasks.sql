-- Sums over the tasks of all time, by path, type and stage. Index: task_rollups_pkey.
SELECT r.processing_path AS path, r.job_type, r.stage, r.completed, r.failed, r.skipped, r.attempts, r.retries,
       r.messages, r.busy_seconds
FROM task_rollups r
WHERE r.hour = '-infinity'
ORDER BY r.processing_path, r.job_type, r.stage
