-- Pauses a schedule, or keeps it paused. Locks: the schedule's row. Index: schedules_pkey.
UPDATE schedules
SET version = version + 1, updated_at = CASE WHEN paused_at IS NULL THEN now() ELSE updated_at END,
    paused_at = COALESCE(paused_at, now())
WHERE name = $1
