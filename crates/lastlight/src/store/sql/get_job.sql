-- The record of one job. Index: jobs_pkey.
SELECT job_id, job_type, status::text AS status, stage, total_stages, parameters, stage_results,
       result_data, error_details, processing_path, created_at, updated_at, finished_at, deadline,
       pause_requested, paused_at, traceparent
FROM jobs
WHERE job_id = $1
