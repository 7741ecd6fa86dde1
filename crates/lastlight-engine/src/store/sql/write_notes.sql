-- Writes what attempts say about themselves, in key order; each only while it is the last attempt of
-- its task, which may have ended meanwhile; a first attempt in a worker's claim of a batch is not counted in the task yet. What an attempt does not say again stays, and so does a
-- checkpoint. Locks: the new rows. Index:
-- tasks_pkey, task_notes_pkey.
INSERT INTO task_notes AS n (job_id, stage, task_id, attempt, progress, message, log_tail)
SELECT t.parent_job_id, t.stage, t.task_id, w.attempt, w.progress, w.message, w.log_tail
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[], $5::real[], $6::text[], $7::text[])
     AS w (job_id, stage, task_id, attempt, progress, message, log_tail)
JOIN tasks t ON t.parent_job_id = w.job_id AND t.stage = w.stage AND t.task_id = w.task_id
            AND (t.attempt = w.attempt OR t.attempt = COALESCE(t.attempts_forgiven, 0) AND w.attempt = t.attempt + 1
                 AND t.handler_id IS NOT NULL)
ON CONFLICT (job_id, stage, task_id) DO UPDATE
SET attempt = EXCLUDED.attempt, updated_at = now(),
    progress = COALESCE(EXCLUDED.progress, CASE WHEN n.attempt = EXCLUDED.attempt THEN n.progress END),
    message = COALESCE(EXCLUDED.message, CASE WHEN n.attempt = EXCLUDED.attempt THEN n.message END),
    log_tail = COALESCE(EXCLUDED.log_tail, CASE WHEN n.attempt = EXCLUDED.attempt THEN n.log_tail END)
