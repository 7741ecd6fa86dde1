-- Removes a job message that was sent from the outbox, and notes in its stage, which now waits for
-- the message, when that was. Index: outbox_pkey, stages_pkey.
WITH sent AS (
    DELETE FROM outbox WHERE job_id = $1 AND stage = $2 RETURNING job_id, stage
)
UPDATE stages s SET updated_at = now()
FROM sent
WHERE s.job_id = sent.job_id AND s.stage = sent.stage AND s.planned_at IS NULL
