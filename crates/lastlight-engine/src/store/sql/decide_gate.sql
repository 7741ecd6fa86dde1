-- Records the decision at a gate that waits for one: the gate has ended then. $4: what was decided, with
-- its author; $5: the states in which a job runs. Locks: the stage's row. Index: stages_pkey, jobs_pkey.
UPDATE stages s
SET planned_at = now(), decision = $3, output = $4::json, updated_at = now()
WHERE s.job_id = $1 AND s.stage = $2 AND s.kind = 'gate' AND s.waits_for = 0
  AND s.planned_at IS NULL AND s.advanced_at IS NULL
  AND EXISTS (SELECT FROM jobs j WHERE j.job_id = $1 AND j.status::text = ANY ($5))
