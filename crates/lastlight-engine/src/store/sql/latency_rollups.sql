-- Histograms by path and metric, from an hour on. $2: one job type, or null. Index:
-- latency_rollups_pkey.
SELECT r.processing_path AS path, r.metric, r.bucket, sum(r.samples)::bigint AS "samples!",
       sum(r.total_ms) AS "total_ms!"
FROM latency_rollups r
WHERE r.hour >= $1::timestamptz AND ($2::text IS NULL OR r.job_type = $2)
GROUP BY r.processing_path, r.metric, r.bucket
ORDER BY r.processing_path, r.metric, r.bucket
