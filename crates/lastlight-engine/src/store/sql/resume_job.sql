-- Resumes a paused job: the job messages of its stages are unsent again, and its deadline moves by the
-- duration of the pause. A job that was only to pause no longer is. $2: the states in which a job
-- runs. Locks: the job's row. Index: jobs_pkey, stages_pkey, outbox_pkey.
WITH before AS (
    SELECT job_id, paused_at FROM jobs
    WHERE job_id = $1 AND status::text = ANY ($2) AND pause_requested
    FOR UPDATE
), resumed AS (
    UPDATE jobs j
    SET pause_requested = false, paused_at = NULL, updated_at = now(),
        deadline = j.deadline + COALESCE(now() - before.paused_at, interval '0')
    FROM before
    WHERE j.job_id = before.job_id
), unsent AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- The message id must be new, or duplicate detection would drop the message.
    SELECT s.job_id, s.stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM before b
    JOIN stages s ON s.job_id = b.job_id
    WHERE b.paused_at IS NOT NULL AND s.planned_at IS NULL AND s.advanced_at IS NULL
      AND (s.kind IS NULL OR s.kind = 'tasks' AND s.waits_for = 0)
    ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = now()
)
SELECT paused_at IS NOT NULL AS "was_paused!" FROM before
