-- Marks a stage of a graph as one that cannot be planned any further, for the reason $4: it fails once its planned tasks have
-- their outcomes. Returns whether they have. Locks: the stage's row. Index: stages_pkey.
UPDATE stages
SET planned_at = now(), lease_owner = NULL, lease_until = NULL, updated_at = now(),
    output = json_build_object('success', false, 'error', $4::text)
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3 AND planned_at IS NULL
RETURNING completed + failed + skipped = total AS "is_ended!"
