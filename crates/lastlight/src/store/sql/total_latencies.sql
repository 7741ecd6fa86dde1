-- Every sample ever, by path, type, stage, metric, and the power of two ms that it was below: eight
-- buckets in one. Octave n holds what took up to 2^n ms. Index: latency_rollups_pkey.
SELECT r.processing_path, r.job_type, r.stage, r.metric, ((r.bucket + 8) / 8)::smallint AS octave,
       sum(r.samples)::bigint AS samples, sum(r.total_ms) AS total_ms
FROM latency_rollups r
WHERE r.hour = '-infinity'
GROUP BY r.processing_path, r.job_type, r.stage, r.metric, octave
ORDER BY r.processing_path, r.job_type, r.stage, r.metric, octave
