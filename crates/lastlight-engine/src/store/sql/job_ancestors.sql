-- The jobs that wait for a job, directly and through others, with the number of steps: at most $2 steps.
-- Index: stages_of_child.
WITH RECURSIVE ancestors (job_id, steps) AS (
    SELECT s.job_id, 1 FROM stages s WHERE s.child_job_id = $1 AND s.advanced_at IS NULL
    UNION
    SELECT s.job_id, a.steps + 1
    FROM ancestors a
    JOIN stages s ON s.child_job_id = a.job_id AND s.advanced_at IS NULL
    WHERE a.steps < $2
)
SELECT job_id AS "job_id!: JobId", max(steps) AS "steps!" FROM ancestors GROUP BY job_id
