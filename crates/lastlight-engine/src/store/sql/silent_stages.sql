-- Takes planned stages that have open tasks by their counters, and in which nothing was recorded
-- for $1 seconds: their counters are compared with a recount, at most once in that time. Index:
-- stages_open.
UPDATE stages s
SET recounted_at = now()
WHERE (s.job_id, s.stage) IN (
    SELECT c.job_id, c.stage
    FROM stages c
    WHERE c.advanced_at IS NULL AND c.planned_at IS NOT NULL AND c.completed + c.failed + c.skipped <> c.total
      AND c.updated_at < now() - make_interval(secs => $1)
      AND (c.recounted_at IS NULL OR c.recounted_at < now() - make_interval(secs => $1))
    LIMIT $2
    FOR UPDATE SKIP LOCKED)
RETURNING s.job_id, s.stage
