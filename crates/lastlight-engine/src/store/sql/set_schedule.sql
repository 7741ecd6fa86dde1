-- Makes or replaces a schedule; nothing if one of this name is declared by another place ($10: a workflow; null: a request). One that is
-- replaced keeps its history and its pause, and its next due time unless the due times change. $11, $12: the next due time, and
-- when it fires. Returns whether it is new. Locks: the schedule's row. Index: schedules_pkey.
INSERT INTO schedules AS s (name, job_type, parameters, cron, time_zone, jitter_seconds, overlap, catch_up, catch_up_limit,
                            declared_by, next_due_at, next_fire_at)
VALUES ($1, $2, $3::json, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (name) DO UPDATE
SET job_type = excluded.job_type, parameters = excluded.parameters, cron = excluded.cron, time_zone = excluded.time_zone,
    jitter_seconds = excluded.jitter_seconds, overlap = excluded.overlap, catch_up = excluded.catch_up,
    catch_up_limit = excluded.catch_up_limit, version = s.version + 1, updated_at = now(),
    next_due_at = CASE WHEN (s.cron, s.time_zone, s.jitter_seconds)
                            IS NOT DISTINCT FROM (excluded.cron, excluded.time_zone, excluded.jitter_seconds)
                       THEN COALESCE(s.next_due_at, excluded.next_due_at) ELSE excluded.next_due_at END,
    next_fire_at = CASE WHEN (s.cron, s.time_zone, s.jitter_seconds)
                             IS NOT DISTINCT FROM (excluded.cron, excluded.time_zone, excluded.jitter_seconds)
                        THEN COALESCE(s.next_fire_at, excluded.next_fire_at) ELSE excluded.next_fire_at END
WHERE s.declared_by IS NOT DISTINCT FROM excluded.declared_by
RETURNING s.version = 1 AS "is_new!"
