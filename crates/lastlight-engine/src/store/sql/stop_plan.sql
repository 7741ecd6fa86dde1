-- Stops planning before the plan is complete: the lease is given up, the cursor stays, and the job
-- message of the stage is unsent again. No row means that the lease was lost, or the job is
-- finished or paused. $4: seconds before anyone but the caller may send the message; $5: the states
-- in which a job runs. Locks: the stage's row. Index: stages_pkey, jobs_pkey, outbox_pkey.
WITH stopped AS (
    UPDATE stages s
    SET lease_owner = NULL, lease_until = NULL, updated_at = now()
    WHERE s.job_id = $1 AND s.stage = $2 AND s.lease_owner = $3 AND s.planned_at IS NULL
      AND EXISTS (SELECT FROM jobs j WHERE j.job_id = $1 AND j.status::text = ANY ($5) AND j.paused_at IS NULL)
    RETURNING s.job_id, s.stage
)
INSERT INTO outbox AS o (job_id, stage, sends, next_send_at)
-- The message id must be new, or duplicate detection would drop the message.
SELECT job_id, stage, (EXTRACT(EPOCH FROM now()) * 1000)::bigint % 1000000000, now() + make_interval(secs => $4)
FROM stopped
ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = EXCLUDED.next_send_at
RETURNING o.sends
