-- Stages that ended while nobody was left to notice. Index: stages_open.
SELECT s.job_id, s.stage
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status IN ('queued', 'processing')
WHERE s.advanced_at IS NULL AND s.planned_at IS NOT NULL AND s.completed + s.failed + s.skipped = s.total
LIMIT $1
