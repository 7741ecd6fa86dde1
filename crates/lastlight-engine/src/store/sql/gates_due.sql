-- Gates of running jobs whose time for a decision has passed, and what then counts as decided. Index:
-- stages_open, jobs_pkey.
SELECT s.job_id, s.stage, s.on_timeout AS "on_timeout!", s.timeout_seconds AS "timeout_seconds!"
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status::text IN ('queued', 'processing')
WHERE s.advanced_at IS NULL AND s.kind = 'gate' AND s.waits_for = 0 AND s.planned_at IS NULL
  AND s.on_timeout IS NOT NULL AND s.created_at + make_interval(secs => s.timeout_seconds) < now()
LIMIT $1
