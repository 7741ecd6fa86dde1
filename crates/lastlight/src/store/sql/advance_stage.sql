-- Claims a stage's end: exactly one caller gets a row. $3, $4, $5: the counters as the caller read
-- and judged them; by now the job may have been cancelled and repeated, and its stage have ended
-- anew. Locks: the stage's row. Index: stages_pkey.
UPDATE stages
SET advanced_at = now(), updated_at = now()
WHERE job_id = $1 AND stage = $2 AND planned_at IS NOT NULL AND advanced_at IS NULL
  AND completed + failed + skipped = total AND completed = $3 AND failed = $4 AND skipped = $5
