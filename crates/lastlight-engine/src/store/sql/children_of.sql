-- The jobs for which stages of a job waited when it ended, and for which no stage of another running job
-- waits. Index: stages_pkey, stages_of_child, jobs_pkey.
SELECT s.child_job_id AS "child!"
FROM stages s
WHERE s.job_id = $1 AND s.child_job_id IS NOT NULL AND s.outcome IS NULL
  AND NOT EXISTS (
      SELECT FROM stages o
      JOIN jobs j ON j.job_id = o.job_id AND j.status::text IN ('queued', 'processing')
      WHERE o.child_job_id = s.child_job_id AND o.advanced_at IS NULL AND o.job_id <> s.job_id)
