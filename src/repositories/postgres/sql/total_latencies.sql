-- Histograms over all hours, by path, type, stage and metric. Reads the whole table. Index: none.
SELECT r.processing_path, r.job_type, r.stage, r.metric, r.bucket, sum(r.samples)::bigint AS samples,
       sum(r.total_ms) AS total_ms
FROM latency_rollups r
GROUP BY r.processing_path, r.job_type, r.stage, r.metric, r.bucket
ORDER BY r.processing_path, r.job_type, r.stage, r.metric, r.bucket
