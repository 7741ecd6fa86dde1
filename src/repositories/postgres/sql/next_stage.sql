-- The job goes on to its next stage: the stage's row and the job message that is owed, in the transaction
-- that claimed the end of the one before. $4: seconds before anybody else may send it; $5: legal states.
-- Locks: the job's row. Index: jobs_pkey.
WITH moved AS (
    UPDATE jobs
    SET status = 'queued', stage = $2 + 1, stage_results = $3::json, updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND status::text = ANY ($5)
    RETURNING job_id, stage
), new_stage AS (
    INSERT INTO stages (job_id, stage) SELECT job_id, stage FROM moved
)
INSERT INTO outbox (job_id, stage, next_send_at)
SELECT job_id, stage, now() + make_interval(secs => $4) FROM moved
