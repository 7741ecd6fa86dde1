-- Jobs that are not over, by status and path, at most $1 of each status. Index: jobs_by_status. Locks nothing.
SELECT s.status::text AS status, j.processing_path, count(*) AS jobs
FROM unnest(ARRAY['queued', 'processing']::job_status[]) AS s (status)
CROSS JOIN LATERAL (
    SELECT processing_path FROM jobs WHERE jobs.status = s.status ORDER BY created_at LIMIT $1) AS j
GROUP BY s.status, j.processing_path
