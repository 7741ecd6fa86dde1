-- A stage that has ended and was not advanced yet, with the data for advancing it. Index:
-- stages_pkey, jobs_pkey.
SELECT s.total, s.completed, s.failed, s.skipped, s.created_at, s.updated_at, j.run,
       s.kind, s.name, s.unmet, s.decision, j.definition_id, j.is_child,
       CASE WHEN s.kind = 'tasks' OR s.kind = 'job' AND s.decision = 'fail' THEN s.output END AS failure, j.job_type, j.total_stages, j.processing_path AS path, j.parameters, j.stage_results,
       COALESCE(j.traceparent, '') AS "trace!: StoredTrace"
FROM stages s
JOIN jobs j USING (job_id)
WHERE s.job_id = $1 AND s.stage = $2 AND s.planned_at IS NOT NULL AND s.advanced_at IS NULL
  AND s.completed + s.failed + s.skipped = s.total
