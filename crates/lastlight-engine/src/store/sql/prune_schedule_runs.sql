-- Deletes all but the newest $1 runs of each schedule; never one that waits, or whose job is not over. Locks: the runs' rows.
-- Index: schedules_pkey, schedule_runs_pkey, jobs_pkey.
DELETE FROM schedule_runs r
USING (SELECT s.name, kept.due_at
       FROM schedules s
       CROSS JOIN LATERAL (
           SELECT n.due_at FROM schedule_runs n WHERE n.name = s.name ORDER BY n.due_at DESC OFFSET $1::bigint - 1 LIMIT 1
       ) kept) oldest
WHERE r.name = oldest.name AND r.due_at < oldest.due_at AND r.decision <> 'waiting'
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.job_id = r.job_id AND j.finished_at IS NULL)
