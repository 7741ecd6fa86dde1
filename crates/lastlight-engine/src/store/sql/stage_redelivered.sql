-- Makes the job message of a stage unsent again, because the old one could not be delivered, and
-- counts that. Returns a row unless the message is unsent already. Of two callers at the same
-- moment one counts: $3 is the count that the caller read. $4: the time to record for it; $5:
-- seconds before anyone but the caller may send the message; $6: the states in which a job runs.
-- Locks: the stage's row. Index: stages_pkey, jobs_pkey, outbox_pkey.
WITH redelivered AS (
    UPDATE stages s
    SET poisoned = $3 + 1, poisoned_at = $4, updated_at = now()
    WHERE s.job_id = $1 AND s.stage = $2 AND s.planned_at IS NULL AND s.advanced_at IS NULL
      AND (s.kind IS NULL OR s.kind = 'tasks' AND s.waits_for = 0)
      AND (s.lease_until IS NULL OR s.lease_until <= now()) AND COALESCE(s.poisoned, 0) = $3
      AND EXISTS (SELECT FROM jobs j
                  WHERE j.job_id = $1 AND j.status::text = ANY ($6) AND j.paused_at IS NULL)
    RETURNING s.job_id, s.stage
)
INSERT INTO outbox (job_id, stage, sends, next_send_at)
-- The message id must be new, or duplicate detection would drop the message.
SELECT job_id, stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now() + make_interval(secs => $5)
FROM redelivered
ON CONFLICT (job_id, stage) DO NOTHING
RETURNING sends
