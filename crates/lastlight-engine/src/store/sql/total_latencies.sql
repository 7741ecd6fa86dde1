-- Number and sum of the samples of all time, by path, type, stage, metric and octave: eight buckets
-- in one. Octave n has the samples of up to 2^n ms. The stage is null for jobs. Index:
-- latency_rollups_pkey.
SELECT r.processing_path AS path, r.job_type, NULLIF(r.stage, 0) AS "stage: Stage", r.metric,
       ((r.bucket + 8) / 8)::smallint AS "octave!",
       sum(r.samples)::bigint AS "samples!", sum(r.total_ms) AS "total_ms!"
FROM latency_rollups r
WHERE r.hour = '-infinity'
GROUP BY r.processing_path, r.job_type, r.stage, r.metric, "octave!"
ORDER BY r.processing_path, r.job_type, r.stage, r.metric, "octave!"
