-- Deletes up to $2 batches of a job that is marked for deletion, and its claims by workers. Returns whether there may be more, and whether the job
-- could be locked. Locks: the job's row, skips it if it is locked; then the batches' rows. Index: jobs_pkey,
-- task_batches_pkey, worker_claims_pkey.
WITH job AS MATERIALIZED (
    SELECT j.job_id FROM jobs j WHERE j.job_id = $1 AND j.purging_at IS NOT NULL FOR UPDATE SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT b.job_id, b.stage, b.batch_no
    FROM job
    CROSS JOIN LATERAL (
        SELECT b.job_id, b.stage, b.batch_no FROM task_batches b
        WHERE b.job_id = job.job_id
        ORDER BY b.stage, b.batch_no
        LIMIT $2
    ) b
), claims AS (
    DELETE FROM worker_claims c
    USING job
    WHERE c.job_id = job.job_id
), purged AS (
    DELETE FROM task_batches b
    USING chosen c
    WHERE b.job_id = c.job_id AND b.stage = c.stage AND b.batch_no = c.batch_no
)
SELECT (SELECT count(*) FROM chosen) = $2 AS "has_more!", EXISTS (SELECT FROM job) AS "is_held!"
