-- Ends a job as completed or failed, in the transaction that claimed the end of its last stage. $7:
-- legal states. Index: jobs_pkey.
UPDATE jobs
SET status = $3::text::job_status, stage_results = $4::json, result_data = $5::json, error_details = $6,
    updated_at = now(), finished_at = now()
WHERE job_id = $1 AND stage = $2 AND status::text = ANY ($7)
