-- How many tasks of a job run now, by stage: the sum of what its processes said in the last $2
-- seconds. A row without a stage says that some process was seen in the last $3 seconds at all.
-- Reads the whole table, which has a row a process.
SELECT r.stage, sum(r.tasks)::bigint AS tasks
FROM instances i
LEFT JOIN LATERAL unnest(i.running_jobs, i.running_stages, i.running_tasks) AS r (job_id, stage, tasks)
    ON r.job_id = $1 AND i.seen_at > now() - make_interval(secs => $2)
WHERE i.seen_at > now() - make_interval(secs => $3)
GROUP BY r.stage
