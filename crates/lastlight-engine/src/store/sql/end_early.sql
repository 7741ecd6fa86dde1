-- Ends a job with a reason before its stages have ended; its open tasks are skipped afterwards, in
-- chunks. A job whose last stage runs after its end ends as before. $3: failed or cancelled; $4: the states from which that is legal. Locks: the job's row.
-- Index: jobs_pkey, outbox_pkey.
WITH ended AS (
    UPDATE jobs
    SET status = COALESCE(ends_as, $3::text::job_status),
        error_details = CASE WHEN ends_as IS NULL THEN $2 ELSE error_details END,
        updated_at = now(), finished_at = now(), paused_at = NULL
    WHERE job_id = $1 AND status::text = ANY ($4)
    RETURNING job_id, status
), forgotten AS (
    DELETE FROM outbox WHERE job_id = (SELECT job_id FROM ended)
)
SELECT status::text AS "status!: JobStatus" FROM ended
