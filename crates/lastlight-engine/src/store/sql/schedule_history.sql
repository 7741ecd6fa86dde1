-- The newest $2 runs of a schedule, the newest first, with the states of their jobs. Index: schedule_runs_pkey, jobs_pkey.
SELECT r.name, r.due_at, r.is_manual, r.decision, r.due_times, r.job_id,
       j.status::text AS "job_status?: JobStatus", r.reason, r.decided_at
FROM (SELECT * FROM schedule_runs WHERE name = $1 ORDER BY due_at DESC, is_manual DESC LIMIT $2) r
LEFT JOIN jobs j ON j.job_id = r.job_id
ORDER BY r.due_at DESC, r.is_manual DESC
