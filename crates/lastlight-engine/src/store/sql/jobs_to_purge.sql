-- Up to $1 jobs that are marked for deletion, those first that were marked first. Index: jobs_purging.
SELECT job_id
FROM jobs
WHERE purging_at IS NOT NULL
ORDER BY purging_at
LIMIT $1
