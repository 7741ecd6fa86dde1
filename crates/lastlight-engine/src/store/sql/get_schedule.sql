-- A schedule. Index: schedules_pkey.
SELECT s.name, s.job_type, s.parameters, s.cron, s.time_zone, s.jitter_seconds, s.overlap,
       s.catch_up, s.catch_up_limit, s.declared_by, s.paused_at, s.next_due_at, s.version, s.created_at, s.updated_at
FROM schedules s
WHERE s.name = $1
