-- Extends the lease of a planner that waits for its plan. If no row is updated, the lease was lost
-- or the job is finished ($5: the states in which it runs). Index: stages_pkey.
UPDATE stages
SET lease_until = now() + make_interval(secs => $4), updated_at = now()
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3 AND planned_at IS NULL
  AND EXISTS (SELECT FROM jobs j WHERE j.job_id = $1 AND j.status::text = ANY ($5))
