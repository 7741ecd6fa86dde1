-- Fails a job whose stage could not be started, unless the stage is planned or being planned, or
-- the job is paused; its open tasks are skipped afterwards. $4: the states from which that is
-- legal. Locks: the stage's row, then the job's. Index: stages_pkey, jobs_pkey, outbox_pkey.
WITH unplanned AS (
    SELECT job_id
    FROM stages
    WHERE job_id = $1 AND stage = $2 AND planned_at IS NULL AND advanced_at IS NULL
      AND (lease_until IS NULL OR lease_until <= now())
    FOR UPDATE
), failed AS (
    UPDATE jobs
    SET status = 'failed', error_details = $3, updated_at = now(), finished_at = now()
    WHERE job_id = (SELECT job_id FROM unplanned) AND stage = $2 AND status::text = ANY ($4) AND paused_at IS NULL
    RETURNING job_id
), forgotten AS (
    DELETE FROM outbox WHERE job_id = (SELECT job_id FROM failed)
)
SELECT EXISTS (SELECT FROM failed)
