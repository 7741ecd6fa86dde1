-- Stages that are ready to submit the job that they wait for, and have not; of one job ($1), or of all.
-- The job that has the stage runs and is not paused. Index: stages_open, jobs_pkey.
SELECT s.job_id, s.stage, s.name AS "name!", j.job_type, j.definition_id, j.parameters, j.processing_path AS path,
       s.created_at AS ready_at, COALESCE(j.labels, '{}') AS "labels!: StoredLabels"
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status::text IN ('queued', 'processing') AND j.paused_at IS NULL
WHERE s.advanced_at IS NULL AND s.kind = 'job' AND s.waits_for = 0 AND s.planned_at IS NULL AND s.child_job_id IS NULL
  AND s.job_id = COALESCE($1, s.job_id)
LIMIT $2
