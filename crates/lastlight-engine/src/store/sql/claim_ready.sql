-- Claims up to $3 ready tasks of some handlers of a queue for a worker. The handler whose oldest task
-- has waited longest goes first, and of its tasks the oldest. Returns a row for each task that was
-- claimed. Attempts are counted here, so that an attempt whose worker dies counts. Tasks that
-- another claim has locked are skipped. $4: lease in seconds; $5: the states from which a task may
-- start; $6: the states in which a job runs. Parameters are returned if they have at most $8 bytes;
-- of larger ones only the length, since many of them would fill the memory. Each handler, job and task
-- is read by a subquery or by its whole key: otherwise a plan made on empty tables would read all
-- ready tasks. Locks: the tasks' rows; skips rows that are locked. Index: worker_handlers_queue_name_key,
-- tasks_ready, tasks_pkey, jobs_pkey.
WITH wanted AS MATERIALIZED (
    SELECT h.handler_id, h.name,
           (SELECT t.ready_at FROM tasks t
            WHERE t.handler_id = h.handler_id AND t.ready_at <= now()
            ORDER BY t.ready_at LIMIT 1) AS oldest
    FROM worker_handlers h
    WHERE h.queue = $1 AND h.name = ANY ($2)
    ORDER BY oldest
), free AS MATERIALIZED (
    SELECT r.parent_job_id, r.stage, r.task_id, r.ready_at, w.name
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT t.parent_job_id, t.stage, t.task_id, t.ready_at
        FROM tasks t
        WHERE t.handler_id = w.handler_id AND t.ready_at <= now()
          AND (SELECT j.status::text = ANY ($6) FROM jobs j WHERE j.job_id = t.parent_job_id)
        ORDER BY t.ready_at
        LIMIT $3
        FOR UPDATE OF t SKIP LOCKED
    ) r
    WHERE w.oldest IS NOT NULL
    LIMIT $3
)
UPDATE tasks t
SET status = 'processing', attempt = t.attempt + 1, heartbeat = now(),
    lease_until = now() + make_interval(secs => $4), started_at = COALESCE(t.started_at, now()),
    ready_at = NULL, due_at = NULL, worker_id = $7, updated_at = now()
FROM free f
WHERE t.parent_job_id = f.parent_job_id AND t.stage = f.stage AND t.task_id = f.task_id
  AND t.ready_at IS NOT NULL AND t.status::text = ANY ($5)
RETURNING t.parent_job_id AS job_id, t.stage, t.task_id, f.name AS handler, t.attempt,
          EXTRACT(EPOCH FROM now() - f.ready_at)::double precision AS "waited_seconds!",
          t.attempt - COALESCE(t.attempts_forgiven, 0) AS "tries!", t.job_type, t.task_type,
          octet_length(t.parameters::text) AS "parameters_bytes!",
          CASE WHEN octet_length(t.parameters::text) <= $8 THEN t.parameters END AS parameters,
          (SELECT ARRAY[octet_length(p.result_data::text)::text,
                        CASE WHEN octet_length(p.result_data::text) <= $8 THEN p.result_data::text END]
           FROM tasks p
           WHERE p.parent_job_id = t.parent_job_id AND p.stage = COALESCE(t.parent_stage, t.stage - 1)
             AND p.task_id = t.parent_task_id AND p.status = 'completed') AS "predecessor: Vec<Option<String>>",
          COALESCE((SELECT j.traceparent FROM jobs j WHERE j.job_id = t.parent_job_id), '') AS "trace!: StoredTrace"
