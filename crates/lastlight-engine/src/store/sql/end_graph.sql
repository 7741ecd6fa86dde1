-- Ends a job with the last stage of its graph, in the transaction that claimed that stage's end. A job that had ended before
-- that stage ends as before. $2:
-- completed or failed; $5: legal states. Index: jobs_pkey.
UPDATE jobs
SET status = COALESCE(ends_as, $2::text::job_status), result_data = CASE WHEN ends_as IS NULL THEN $3::json END,
    error_details = CASE WHEN ends_as IS NULL THEN $4 ELSE error_details END, paused_at = NULL, updated_at = now(),
    finished_at = now()
WHERE job_id = $1 AND open_stages = 0 AND status::text = ANY ($5)
RETURNING status::text AS "status!: JobStatus"
