-- Whether a job of an earlier run of a schedule is not over, the first due time that waits, and how many wait. Index:
-- schedule_runs_pkey, schedule_runs_waiting, jobs_pkey.
SELECT EXISTS (
           SELECT FROM schedule_runs r
           JOIN jobs j ON j.job_id = r.job_id AND j.finished_at IS NULL
           WHERE r.name = $1) AS "is_running!",
       (SELECT min(r.due_at) FROM schedule_runs r WHERE r.name = $1 AND r.decision = 'waiting') AS first_waiting,
       (SELECT count(*) FROM schedule_runs r WHERE r.name = $1 AND r.decision = 'waiting') AS "waiting!"
