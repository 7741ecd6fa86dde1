-- The newest $1 jobs whose terms are not written: jobs of before there were terms, and of a handler of that version. Locks
-- nothing. Index: jobs_without_terms.
SELECT job_id, job_type, parameters
FROM jobs
WHERE labels IS NULL
ORDER BY created_at DESC
LIMIT $1
