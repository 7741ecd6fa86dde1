-- Fails a job whose stage could not be started, unless the stage is planned or being planned, or
-- the job is paused; its open tasks are skipped afterwards. $4: the states from which that is
-- legal. Locks: the stage's row, then the job's. Index: stages_pkey, jobs_pkey, outbox_pkey.
WITH unplanned AS (
    SELECT s.job_id
    FROM stages s
    WHERE s.job_id = $1 AND s.stage = $2 AND s.planned_at IS NULL AND s.advanced_at IS NULL
      AND (s.kind IS NULL OR s.kind = 'tasks' AND s.waits_for = 0)
      AND (lease_until IS NULL OR lease_until <= now())
    FOR UPDATE
), failed AS (
    UPDATE jobs
    SET status = COALESCE(ends_as, 'failed'),
        error_details = CASE WHEN ends_as IS NULL THEN $3 ELSE error_details END, updated_at = now(), finished_at = now()
    WHERE job_id = (SELECT job_id FROM unplanned) AND status::text = ANY ($4) AND paused_at IS NULL
    RETURNING job_id
), forgotten AS (
    DELETE FROM outbox WHERE job_id = (SELECT job_id FROM failed)
)
SELECT EXISTS (SELECT FROM failed) AS "is_failed!"
