-- Notes that the job of a due time existed before. Locks: the run's row. Index: schedule_runs_pkey.
UPDATE schedule_runs SET decision = 'exists', reason = $4
WHERE name = $1 AND due_at = $2 AND is_manual = $3
