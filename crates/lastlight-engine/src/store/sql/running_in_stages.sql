-- Number of tasks of a job that run now, by stage: the sum of what its processes reported in the
-- last $2 seconds. A row without a stage means that some process reported in the last $3 seconds.
-- Reads the whole table, which has one row per process.
SELECT r.stage AS "stage?: Stage", sum(r.tasks)::bigint AS "tasks?"
FROM instances i
LEFT JOIN LATERAL unnest(i.running_jobs, i.running_stages, i.running_tasks) AS r (job_id, stage, tasks)
    ON r.job_id = $1 AND i.seen_at > now() - make_interval(secs => $2)
WHERE i.seen_at > now() - make_interval(secs => $3)
GROUP BY r.stage
