-- Number of jobs by how they ended, by path, from an hour on. $2: one job type, or null. Index:
-- job_rollups_pkey.
SELECT r.processing_path AS path, sum(r.completed)::bigint AS "completed!", sum(r.failed)::bigint AS "failed!",
       sum(r.cancelled)::bigint AS "cancelled!", sum(r.timed_out)::bigint AS "timed_out!"
FROM job_rollups r
WHERE r.hour >= $1::timestamptz AND ($2::text IS NULL OR r.job_type = $2)
GROUP BY r.processing_path
