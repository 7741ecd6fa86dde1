-- Holds a schedule that still has this version ($2) until the transaction ends: a run that a user orders changes no due time. Locks:
-- the schedule's row. Index: schedules_pkey.
UPDATE schedules SET version = version + 1 WHERE name = $1 AND version = $2
