-- Ends a job with a reason before its stages have ended; its open tasks are skipped afterwards, in
-- chunks. $3: failed or cancelled; $4: the states from which that is legal. Locks: the job's row.
-- Index: jobs_pkey, outbox_pkey.
WITH ended AS (
    UPDATE jobs
    SET status = $3::text::job_status, error_details = $2, updated_at = now(), finished_at = now(), paused_at = NULL
    WHERE job_id = $1 AND status::text = ANY ($4)
    RETURNING job_id
), forgotten AS (
    DELETE FROM outbox WHERE job_id = (SELECT job_id FROM ended)
)
SELECT EXISTS (SELECT FROM ended)
