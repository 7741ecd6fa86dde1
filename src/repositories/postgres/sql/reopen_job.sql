-- A job goes on in the stage in which it ended; one whose stage was not planned whole gets a job message.
-- $3: its stages' results without that stage's; $4: seconds until its new deadline; $5: legal states.
-- Locks: the job's row, then the stage's. Index: jobs_pkey, stages_pkey.
WITH planned AS (
    SELECT planned_at IS NOT NULL AS whole FROM stages WHERE job_id = $1 AND stage = $2 AND advanced_at IS NOT NULL
), reopened AS (
    UPDATE jobs
    SET status = CASE WHEN (SELECT whole FROM planned) THEN 'processing' ELSE 'queued' END::job_status,
        stage_results = $3::json, result_data = NULL, error_details = NULL, finished_at = NULL, pause_requested = false,
        deadline = now() + make_interval(secs => $4), updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND status::text = ANY ($5) AND EXISTS (SELECT FROM planned)
    RETURNING job_id, stage, status
), open AS (
    UPDATE stages s
    SET advanced_at = NULL, lease_owner = NULL, lease_until = NULL, poisoned = NULL, updated_at = now()
    FROM reopened r
    WHERE s.job_id = r.job_id AND s.stage = r.stage
), owed AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- A message id that was not used before, or duplicate detection would drop it.
    SELECT job_id, stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM reopened
    WHERE status = 'queued'
    ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = now()
)
SELECT status::text FROM reopened
