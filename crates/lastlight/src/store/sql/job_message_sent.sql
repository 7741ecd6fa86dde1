-- A job message is no longer owed; its stage waits for it from now on. Index: outbox_pkey,
-- stages_pkey.
WITH sent AS (
    DELETE FROM outbox WHERE job_id = $1 AND stage = $2 RETURNING job_id, stage
)
UPDATE stages s SET updated_at = now()
FROM sent
WHERE s.job_id = sent.job_id AND s.stage = sent.stage AND s.planned_at IS NULL
