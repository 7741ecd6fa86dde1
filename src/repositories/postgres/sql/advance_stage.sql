-- Claims a stage's end: exactly one caller gets a row. Locks: the stage's row. Index: stages_pkey.
UPDATE stages
SET advanced_at = now(), updated_at = now()
WHERE job_id = $1 AND stage = $2 AND planned_at IS NOT NULL AND advanced_at IS NULL
  AND completed + failed + skipped = total
