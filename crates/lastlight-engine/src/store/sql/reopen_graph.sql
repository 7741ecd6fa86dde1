-- Reopens a job after the stages of its graph: $2 of them are open. Those that have tasks to plan get a
-- job message. $3: seconds until its new deadline; $4: legal states. Locks: the job's row. Index:
-- jobs_pkey, stages_pkey.
WITH reopened AS (
    UPDATE jobs
    SET status = 'processing', open_stages = $2, ends_as = NULL, result_data = NULL, error_details = NULL, finished_at = NULL,
        pause_requested = false, paused_at = NULL, deadline = now() + make_interval(secs => $3), updated_at = now()
    WHERE job_id = $1 AND status::text = ANY ($4) AND purging_at IS NULL
    RETURNING job_id
), unsent AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- The message id must be new, or duplicate detection would drop the message.
    SELECT s.job_id, s.stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM reopened r
    JOIN stages s ON s.job_id = r.job_id
    WHERE s.kind = 'tasks' AND s.waits_for = 0 AND s.planned_at IS NULL AND s.advanced_at IS NULL
    ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = now()
)
SELECT EXISTS (SELECT FROM reopened) AS "is_reopened!"
