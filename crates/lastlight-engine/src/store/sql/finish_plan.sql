-- Marks a stage as completely planned; returns whether all of its tasks have their outcome already.
-- Locks: the stage's row. Index: stages_pkey.
UPDATE stages
SET planned_at = now(), lease_owner = NULL, lease_until = NULL, updated_at = now()
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3 AND planned_at IS NULL
RETURNING completed + failed + skipped = total AS "is_ended!"
