-- Resumes a schedule that is paused and still has this version ($2): it goes on at a due time ($3) that fires at $4. Locks: the
-- schedule's row. Index: schedules_pkey.
UPDATE schedules
SET version = version + 1, updated_at = now(), paused_at = NULL, next_due_at = $3, next_fire_at = $4
WHERE name = $1 AND version = $2 AND paused_at IS NOT NULL
