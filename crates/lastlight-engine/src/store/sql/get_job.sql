-- The record of one job. Index: jobs_pkey.
SELECT job_id, job_type, status::text AS "status!: JobStatus", stage, total_stages, parameters, stage_results,
       result_data, error_details, processing_path AS path, created_at, updated_at, finished_at, deadline,
       pause_requested AS is_pause_requested, paused_at, definition_id, open_stages, is_child,
       purging_at IS NOT NULL AS "is_purging?", run AS "run?", is_resubmitted AS "is_resubmitted?",
       COALESCE(labels, '{}') AS "labels!: StoredLabels", COALESCE(traceparent, '') AS "trace!: StoredTrace"
FROM jobs
WHERE job_id = $1
