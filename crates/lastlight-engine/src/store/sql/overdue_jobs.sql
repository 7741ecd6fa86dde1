-- Unfinished jobs past their deadline. Index: jobs_deadline.
SELECT job_id, stage, created_at, deadline AS "deadline!"
FROM jobs
WHERE finished_at IS NULL AND deadline < now() AND paused_at IS NULL
ORDER BY deadline
LIMIT $1
