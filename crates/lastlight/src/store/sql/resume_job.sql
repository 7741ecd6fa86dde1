-- Resumes a paused job: the job message of its stage is unsent again, and its deadline moves by the
-- duration of the pause. A job that was only to pause no longer is. $2: the states in which a job
-- runs. Locks: the job's row. Index: jobs_pkey, outbox_pkey.
WITH was AS (
    SELECT job_id, stage, paused_at FROM jobs
    WHERE job_id = $1 AND status::text = ANY ($2) AND pause_requested
    FOR UPDATE
), resumed AS (
    UPDATE jobs j
    SET pause_requested = false, paused_at = NULL, updated_at = now(),
        deadline = j.deadline + COALESCE(now() - was.paused_at, interval '0')
    FROM was
    WHERE j.job_id = was.job_id
), owed AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- The message id must be new, or duplicate detection would drop the message.
    SELECT job_id, stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM was
    WHERE paused_at IS NOT NULL
    ON CONFLICT (job_id, stage) DO UPDATE SET next_send_at = now()
)
SELECT paused_at IS NOT NULL FROM was
