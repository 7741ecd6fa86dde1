-- Claims the end of a stage of a graph: exactly one caller updates a row. $3, $4, $5: the counters
-- that the caller read and based the outcome on, as in advance_stage.sql. $6: the outcome; $7: the
-- dependents that a decision did not choose; $8: the result of a stage without tasks; $9: the entry in
-- the job's results; $10: the run that the job was in. Locks: the stage's row. Index: stages_pkey, jobs_pkey.
UPDATE stages
SET advanced_at = now(), updated_at = now(), outcome = $6, not_chosen = $7, output = COALESCE($8::json, output),
    result = $9::json
WHERE job_id = $1 AND stage = $2 AND planned_at IS NOT NULL AND advanced_at IS NULL
  AND completed + failed + skipped = total AND completed = $3 AND failed = $4 AND skipped = $5
  AND (SELECT j.run FROM jobs j WHERE j.job_id = $1) = $10
RETURNING needed_by AS "needed_by!", followed_by AS "followed_by!"
