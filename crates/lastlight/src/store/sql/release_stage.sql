-- Gives up the right to plan before the plan is whole, so that the next delivery may go on at once.
UPDATE stages SET lease_owner = NULL, lease_until = NULL
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3
