-- A person ends a job; what of it is open is skipped afterwards, chunk by chunk. $3: the states from which that is legal.
-- Locks: the job's row. Index: jobs_pkey, outbox_pkey.
WITH cancelled AS (
    UPDATE jobs
    SET status = 'cancelled', error_details = $2, updated_at = now(), finished_at = now(), paused_at = NULL
    WHERE job_id = $1 AND status::text = ANY ($3)
    RETURNING job_id
), forgotten AS (
    DELETE FROM outbox WHERE job_id = (SELECT job_id FROM cancelled)
)
SELECT EXISTS (SELECT FROM cancelled)
