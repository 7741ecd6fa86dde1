-- Jobs that ended before their last stage, which runs all the same, and whose stages are closed. $2: the states in which a job has
-- ended so. Index: stages_to_finalize, jobs_pkey, stages_pkey.
SELECT s.job_id
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status::text = ANY ($2)
WHERE s.is_finalize AND s.outcome IS NULL AND s.waits_for > 0 AND s.advanced_at IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM stages o
      WHERE o.job_id = s.job_id AND (o.advanced_at IS NULL OR o.completed + o.failed + o.skipped <> o.total))
LIMIT $1
