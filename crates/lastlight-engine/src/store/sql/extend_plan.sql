-- Counts a written chunk and extends the planner's lease. If no row is updated, the lease was lost
-- or the job is finished ($8: the states in which it runs), and the transaction must be rolled
-- back. $9: the handler of its tasks, if they are for workers. Locks: the stage's row, last in its transaction. Index: stages_pkey.
UPDATE stages
SET plan_cursor = plan_cursor + $4, total = total + $5, batches = $6, handler_id = $9,
    lease_until = now() + make_interval(secs => $7), updated_at = now()
WHERE job_id = $1 AND stage = $2 AND lease_owner = $3 AND planned_at IS NULL
  AND EXISTS (SELECT FROM jobs j WHERE j.job_id = $1 AND j.status::text = ANY ($8))
