-- Deletes the schedules that a workflow file declared and none declares any more: those not in $1, unless the file of their workflow
-- cannot be read ($2: the workflows). Returns their names. Locks: the schedules' rows and their runs. Index: schedule_runs_pkey.
DELETE FROM schedules s
WHERE s.declared_by IS NOT NULL AND NOT s.name = ANY ($1::text[]) AND NOT s.declared_by = ANY ($2::text[])
RETURNING s.name
