-- The stages of a job from $2 on, or the stage $3 alone, that can contain tasks of status $4 (null:
-- any) according to their counters. One row without a stage if there is none, no row if the job
-- does not exist. Locks nothing. Index: jobs_pkey, stages_pkey.
SELECT j.created_at, j.job_id, s.stage AS "stage?"
FROM jobs j
LEFT JOIN stages s ON s.job_id = j.job_id AND s.stage >= $2::smallint AND ($3::smallint IS NULL OR s.stage = $3)
  AND CASE $4::text
          WHEN 'completed' THEN s.completed > 0
          WHEN 'failed' THEN s.failed > 0
          WHEN 'skipped' THEN s.skipped > 0
          ELSE s.total > CASE WHEN $4 IS NULL THEN 0 ELSE s.completed + s.failed + s.skipped END
      END
WHERE j.job_id = $1
ORDER BY s.stage
