-- Sets a stage's counters to a recount, under its lock. Index: stages_pkey.
UPDATE stages
SET total = $3, completed = $4, failed = $5, skipped = $6, updated_at = now()
WHERE job_id = $1 AND stage = $2
