-- Number of jobs of all time by how they ended, by path and type. Index: job_rollups_pkey.
SELECT r.processing_path AS path, r.job_type, r.completed, r.failed, r.cancelled, r.timed_out
FROM job_rollups r
WHERE r.hour = '-infinity'
ORDER BY r.processing_path, r.job_type
