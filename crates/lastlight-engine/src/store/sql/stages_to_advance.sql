-- Stages that ended and were not advanced, because the process that should have advanced them died.
-- The job's status is compared as text, which no index contains: otherwise a plan made on empty
-- tables would read all open jobs for each stage. Index: stages_open, jobs_pkey.
SELECT s.job_id, s.stage
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status::text IN ('queued', 'processing')
WHERE s.advanced_at IS NULL AND s.planned_at IS NOT NULL AND s.completed + s.failed + s.skipped = s.total
LIMIT $1
