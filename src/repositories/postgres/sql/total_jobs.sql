-- How jobs ended, over all hours, by path and type. Reads the whole of a small table. Index: none.
SELECT r.processing_path, r.job_type, sum(r.completed)::bigint AS completed, sum(r.failed)::bigint AS failed,
       sum(r.cancelled)::bigint AS cancelled, sum(r.timed_out)::bigint AS timed_out
FROM job_rollups r
GROUP BY r.processing_path, r.job_type
ORDER BY r.processing_path, r.job_type
