-- Ended stages of at most $2 tasks that were not measured since their end, in the order of their
-- ends. Stages with tasks that a retry has reopened meanwhile wait for their next end. Index:
-- stages_unmeasured.
SELECT s.job_id, s.stage
FROM stages s
WHERE s.advanced_at IS NOT NULL AND (s.measured_at IS NULL OR s.measured_at < s.advanced_at)
  AND s.completed + s.failed + s.skipped = s.total AND s.total <= $2
ORDER BY s.advanced_at
LIMIT $1
