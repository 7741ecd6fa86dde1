-- Records what became of a due time; nothing if that was decided before, and did not wait. $5: the due times that it stands for.
-- Locks: the run's row. Index: schedule_runs_pkey.
INSERT INTO schedule_runs AS r (name, due_at, is_manual, decision, due_times, job_id, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (name, due_at, is_manual) DO UPDATE
SET decision = excluded.decision, due_times = excluded.due_times, job_id = excluded.job_id, reason = excluded.reason,
    decided_at = now()
WHERE r.decision = 'waiting'
