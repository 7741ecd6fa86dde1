-- Stores a submission: the job, its first stage and the unsent job message; nothing if the job
-- exists. Or begins the next run ($9) of a job whose run before was cleared: clear_run.sql. A job that was deleted lately continues its numbers of
-- runs and attempts. $6: seconds before anyone but the submitter may send the message; $7: seconds until the
-- deadline; $8: the trace; $10: the labels; $11, $12: the job's terms; $13: the addresses to notify. Locks: the new rows only, or the job's row. Index: jobs_pkey,
-- for the conflict; deleted_jobs_pkey; job_terms_pkey.
WITH new_job AS (
    INSERT INTO jobs (job_id, job_type, total_stages, parameters, processing_path, deadline, traceparent,
                      run, attempts_before, labels, notify)
    VALUES ($1, $2, $3, $4::json, $5, now() + make_interval(secs => $7), $8,
            COALESCE((SELECT d.run + 1 FROM deleted_jobs d WHERE d.job_id = $1), 1),
            COALESCE((SELECT d.attempts_before FROM deleted_jobs d WHERE d.job_id = $1), 0),
            $10::json, $13)
    ON CONFLICT (job_id) DO UPDATE
    SET status = EXCLUDED.status, stage = EXCLUDED.stage, total_stages = EXCLUDED.total_stages, stage_results = '{}',
        result_data = NULL, error_details = NULL, created_at = now(), updated_at = now(), finished_at = NULL,
        deadline = EXCLUDED.deadline, traceparent = EXCLUDED.traceparent, pause_requested = false, paused_at = NULL,
        measured_at = NULL, purging_at = NULL, is_resubmitted = false, run = jobs.run + 1,
        labels = EXCLUDED.labels
    WHERE $9 AND jobs.is_resubmitted AND jobs.purging_at IS NOT NULL
    RETURNING job_id, created_at
), terms AS (
    INSERT INTO job_terms (job_id, name, value, created_at)
    SELECT n.job_id, t.name, t.value, n.created_at
    FROM new_job n
    CROSS JOIN UNNEST($11::text[], $12::text[]) AS t (name, value)
    ON CONFLICT (job_id, name) DO UPDATE SET value = EXCLUDED.value, created_at = EXCLUDED.created_at
), first_stage AS (
    INSERT INTO stages (job_id, stage) SELECT job_id, 1 FROM new_job
), owed AS (
    INSERT INTO outbox (job_id, stage, next_send_at)
    SELECT job_id, 1, now() + make_interval(secs => $6) FROM new_job
)
SELECT EXISTS (SELECT FROM new_job) AS "is_new!"
