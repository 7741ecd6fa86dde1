-- Moves a job to its next stage: writes the stage's row and the unsent job message, in the
-- transaction that claimed the end of the stage before. A job that is to pause is paused here, and
-- no message is written until it is resumed. $4: seconds before anyone but the caller may send the
-- message; $5: legal states. Locks: the job's row. Index: jobs_pkey.
WITH moved AS (
    UPDATE jobs
    SET status = 'queued', stage = $2 + 1, stage_results = $3::json, updated_at = now(),
        paused_at = CASE WHEN pause_requested THEN now() END
    WHERE job_id = $1 AND stage = $2 AND status::text = ANY ($5)
    RETURNING job_id, stage, paused_at
), new_stage AS (
    INSERT INTO stages (job_id, stage) SELECT job_id, stage FROM moved
), unsent AS (
    INSERT INTO outbox (job_id, stage, next_send_at)
    SELECT job_id, stage, now() + make_interval(secs => $4) FROM moved WHERE paused_at IS NULL
)
SELECT paused_at IS NOT NULL AS "is_paused!" FROM moved
