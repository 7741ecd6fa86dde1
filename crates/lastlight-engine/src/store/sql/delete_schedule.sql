-- Deletes a schedule that was made by a request, with its history. Locks: the schedule's row and its runs. Index: schedules_pkey,
-- schedule_runs_pkey.
DELETE FROM schedules WHERE name = $1 AND declared_by IS NULL
