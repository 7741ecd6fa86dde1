-- Sums over tasks by path, from an hour on. $2: one job type, or null. Index: task_rollups_pkey.
SELECT r.processing_path AS path, sum(r.completed)::bigint AS "completed!", sum(r.failed)::bigint AS "failed!",
       sum(r.skipped)::bigint AS "skipped!", sum(r.attempts)::bigint AS "attempts!",
       sum(r.retries)::bigint AS "retries!", sum(r.messages)::bigint AS "messages!",
       sum(r.busy_seconds) AS "busy_seconds!"
FROM task_rollups r
WHERE r.hour >= $1::timestamptz AND ($2::text IS NULL OR r.job_type = $2)
GROUP BY r.processing_path
