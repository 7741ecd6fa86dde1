-- A job goes on in the stage in which it ended, once everything that did not succeed in it is ready
-- to run again; one whose stage was not planned whole gets a job message. No row: roll back, since
-- the stage may be open and the job not. $3: its stages' results without that stage's; $4: seconds
-- until its new deadline; $5: legal states. Locks: the stage's row, then the job's. Index:
-- stages_pkey, jobs_pkey.
WITH opened AS (
    UPDATE stages
    SET advanced_at = NULL, lease_owner = NULL, lease_until = NULL, poisoned = NULL, updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND advanced_at IS NOT NULL AND failed = 0 AND skipped = 0
    RETURNING planned_at IS NOT NULL AS whole
), reopened AS (
    UPDATE jobs
    SET status = CASE WHEN (SELECT whole FROM opened) THEN 'processing' ELSE 'queued' END::job_status,
        stage_results = $3::json, result_data = NULL, error_details = NULL, finished_at = NULL, pause_requested = false,
        deadline = now() + make_interval(secs => $4), updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND status::text = ANY ($5) AND EXISTS (SELECT FROM opened)
    RETURNING job_id, stage, status
), owed AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- A message id that was not used before, or duplicate detection would drop it.
    SELECT job_id, stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM reopened
    WHERE status = 'queued'
    ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = now()
)
SELECT status::text FROM reopened
