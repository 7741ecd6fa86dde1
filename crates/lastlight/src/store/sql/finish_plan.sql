-- The stage is fully planned; says whether that turned the lights out.
-- Locks: the stage's row. Index: stages_pkey.
UPDATE stages
SET planned_at = now(), lease_owner = NULL, lease_until = NULL, updated_at = now()
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3 AND planned_at IS NULL
RETURNING completed + failed + skipped = total
