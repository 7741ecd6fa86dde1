-- Gives up the lease to plan a stage before the plan is complete, so that the next delivery may
-- continue at once. Locks: the stage's row. Index: stages_pkey.
UPDATE stages SET lease_owner = NULL, lease_until = NULL
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3
