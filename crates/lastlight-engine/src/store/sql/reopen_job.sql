-- Reopens a job in the stage in which it ended, once every task that did not succeed in it is ready
-- to run again; a job whose stage was not planned completely gets a job message. If no row is
-- returned, roll back, since the stage may be open and the job not. $3: the results of its stages
-- without that stage's; $4: seconds until its new deadline; $5: legal states. Locks: the stage's
-- row, then the job's. Index: stages_pkey, jobs_pkey, tasks_pkey.
WITH opened AS (
    UPDATE stages
    SET advanced_at = NULL, lease_owner = NULL, lease_until = NULL, poisoned = NULL, updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND advanced_at IS NOT NULL AND failed = 0
      AND (skipped = 0 OR NOT EXISTS (
          SELECT FROM tasks t
          WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.status = 'skipped' AND t.skipped_by_user IS NOT TRUE))
    RETURNING planned_at IS NOT NULL AS whole
), reopened AS (
    UPDATE jobs
    SET status = CASE WHEN (SELECT whole FROM opened) THEN 'processing' ELSE 'queued' END::job_status,
        stage_results = $3::json, result_data = NULL, error_details = NULL, finished_at = NULL, pause_requested = false,
        deadline = now() + make_interval(secs => $4), updated_at = now()
    WHERE job_id = $1 AND stage = $2 AND status::text = ANY ($5) AND purging_at IS NULL AND EXISTS (SELECT FROM opened)
    RETURNING job_id, stage, status
), unsent AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- The message id must be new, or duplicate detection would drop the message.
    SELECT job_id, stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM reopened
    WHERE status = 'queued'
    ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = now()
)
SELECT status::text AS "status!: JobStatus" FROM reopened
