-- Has an attempt ($2) write the present run of a job that is marked for deletion to the archive, unless another one does; for $3 seconds. Returns
-- whether the run is in the archive already, whether the attempt may write it, and its number; no row: the job is not marked, or another
-- process changes it at this moment. Locks: the job's row, skips it if it is locked. Index: jobs_pkey.
WITH job AS MATERIALIZED (
    SELECT j.job_id, j.run, j.archived_run >= j.run AS is_archived,
           j.archived_run < j.run AND COALESCE(j.archiving_until <= now(), true) AS is_free
    FROM jobs j
    WHERE j.job_id = $1 AND j.purging_at IS NOT NULL
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE jobs j
    SET archiving_by = $2, archiving_until = now() + make_interval(secs => $3)
    FROM job
    WHERE j.job_id = job.job_id AND job.is_free
)
SELECT is_archived AS "is_archived!", is_free AS "is_claimed!", run FROM job
