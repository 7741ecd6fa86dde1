-- What happened to tasks, over all hours, by path, type and stage. Reads the whole of a small table. Index: none.
SELECT r.processing_path, r.job_type, r.stage, sum(r.completed)::bigint AS completed, sum(r.failed)::bigint AS failed,
       sum(r.skipped)::bigint AS skipped, sum(r.attempts)::bigint AS attempts, sum(r.retries)::bigint AS retries,
       sum(r.messages)::bigint AS messages, sum(r.busy_seconds) AS busy_seconds
FROM task_rollups r
GROUP BY r.processing_path, r.job_type, r.stage
ORDER BY r.processing_path, r.job_type, r.stage
