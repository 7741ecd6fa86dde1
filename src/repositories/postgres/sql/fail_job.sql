-- Ends a job with a reason, and with it its open stages. $3: the states from which that is legal.
-- Locks: the job's row, then its open stages' rows. Index: jobs_pkey, stages_pkey.
WITH failed AS (
    UPDATE jobs
    SET status = 'failed', error_details = $2, updated_at = now(), finished_at = now()
    WHERE job_id = $1 AND status::text = ANY ($3)
    RETURNING job_id
)
UPDATE stages SET advanced_at = now(), updated_at = now()
WHERE job_id = (SELECT job_id FROM failed) AND advanced_at IS NULL
