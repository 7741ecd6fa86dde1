-- Moves a schedule that still has this version ($2) to its next due time ($3), which fires at $4; null: there is none. The first
-- statement of the transaction that decides a due time: of several processes, one finds the version. Locks: the schedule's row.
-- Index: schedules_pkey.
UPDATE schedules
SET version = version + 1, updated_at = now(), next_due_at = $3, next_fire_at = $4
WHERE name = $1 AND version = $2
