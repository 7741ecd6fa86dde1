-- Claims the end of a stage: exactly one caller updates a row. $3, $4, $5: the counters that the
-- caller read and based its decision on; since then the job may have been cancelled and retried,
-- and its stage have ended again. $6: the run that the job was in. Locks: the stage's row. Index: stages_pkey, jobs_pkey.
UPDATE stages
SET advanced_at = now(), updated_at = now()
WHERE job_id = $1 AND stage = $2 AND planned_at IS NOT NULL AND advanced_at IS NULL
  AND completed + failed + skipped = total AND completed = $3 AND failed = $4 AND skipped = $5
  AND (SELECT j.run FROM jobs j WHERE j.job_id = $1) = $6
