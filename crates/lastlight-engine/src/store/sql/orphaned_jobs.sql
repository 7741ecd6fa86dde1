-- Up to $2 job ids after $1, in order, for which tasks exist, and whether the job itself is
-- missing: it was deleted by hand, which deletes everything but its tasks. Each is found by one
-- probe of the index, however many tasks it has, and looked up by a subquery: with NOT EXISTS, a
-- plan may read all jobs. Index: tasks_pkey, jobs_pkey. Locks nothing.
WITH RECURSIVE held (job_id) AS (
    (SELECT t.parent_job_id FROM tasks t WHERE t.parent_job_id > $1 ORDER BY t.parent_job_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.parent_job_id FROM tasks t WHERE t.parent_job_id > held.job_id ORDER BY t.parent_job_id LIMIT 1)
    FROM held
    WHERE held.job_id IS NOT NULL
)
SELECT held.job_id AS "job_id!", (SELECT j.job_id FROM jobs j WHERE j.job_id = held.job_id) IS NULL AS "is_orphaned!"
FROM held
WHERE held.job_id IS NOT NULL
LIMIT $2
