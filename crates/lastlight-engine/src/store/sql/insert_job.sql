-- Stores a submission: the job, its first stage and the unsent job message; nothing if the job
-- exists. $6: seconds before anyone but the submitter may send the message; $7: seconds until the
-- deadline; $8: the trace; $9: the addresses to notify. Locks: the new rows only. Index: jobs_pkey, for the conflict.
WITH new_job AS (
    INSERT INTO jobs (job_id, job_type, total_stages, parameters, processing_path, deadline, traceparent, notify)
    VALUES ($1, $2, $3, $4::json, $5, now() + make_interval(secs => $7), $8, $9)
    ON CONFLICT (job_id) DO NOTHING
    RETURNING job_id
), first_stage AS (
    INSERT INTO stages (job_id, stage) SELECT job_id, 1 FROM new_job
), owed AS (
    INSERT INTO outbox (job_id, stage, next_send_at)
    SELECT job_id, 1, now() + make_interval(secs => $6) FROM new_job
)
SELECT EXISTS (SELECT FROM new_job) AS "is_new!"
