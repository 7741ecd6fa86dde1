-- The newest run of each of these schedules, with the state of its job. Index: schedule_runs_pkey, jobs_pkey.
SELECT r.name AS "name!", r.due_at AS "due_at!", r.is_manual AS "is_manual!", r.decision AS "decision!: RunDecision", r.due_times AS "due_times!",
       r.job_id AS "job_id: JobId", j.status::text AS "job_status: JobStatus", r.reason, r.decided_at AS "decided_at!"
FROM UNNEST($1::text[]) AS s (name)
CROSS JOIN LATERAL (
    SELECT r.* FROM schedule_runs r WHERE r.name = s.name ORDER BY r.due_at DESC, r.is_manual DESC LIMIT 1
) r
LEFT JOIN jobs j ON j.job_id = r.job_id
