-- The values that a stage's counters should have. Index: tasks_pkey.
SELECT count(*) AS "total!",
       count(*) FILTER (WHERE status = 'completed') AS "completed!",
       count(*) FILTER (WHERE status = 'failed') AS "failed!",
       count(*) FILTER (WHERE status = 'skipped') AS "skipped!"
FROM tasks
WHERE parent_job_id = $1 AND stage = $2
