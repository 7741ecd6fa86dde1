-- The jobs that are marked for deletion and wait for the archive: their number, at most 10,000, and since when the first of them waits.
-- Index: jobs_purging.
SELECT count(*) AS "jobs!", extract(epoch FROM now() - min(waiting.purging_at))::float8 AS "oldest: Seconds"
FROM (
    SELECT j.purging_at FROM jobs j
    WHERE j.purging_at IS NOT NULL AND j.archived_run < j.run
    ORDER BY j.purging_at
    LIMIT 10000
) AS waiting
