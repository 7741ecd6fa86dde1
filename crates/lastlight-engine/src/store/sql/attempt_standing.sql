-- The standing of attempts that workers name: a row for each whose task exists. The first attempt at a task may be part
-- of a claim of a batch. $5: a lease that ends
-- in less than these seconds is short; $6: the states from which a task may start. Index: tasks_pkey, jobs_pkey,
-- worker_handlers_pkey, worker_claims_pkey.
SELECT r.place AS "place!", (SELECT j.status::text FROM jobs j WHERE j.job_id = r.job_id) AS "job_status: JobStatus",
       t.status::text AS "task_status!: TaskStatus", COALESCE(t.attempt = r.attempt OR c.worker_id IS NOT NULL, false) AS "is_newest!", t.due_at IS NOT NULL AS "is_postponed!",
       t.job_type, t.task_type, CASE WHEN c.worker_id IS NULL THEN t.attempt - COALESCE(t.attempts_forgiven, 0) ELSE 1 END AS "tries!",
       COALESCE(t.lease_until < now() + make_interval(secs => $5), false) AS "is_short!",
       EXTRACT(EPOCH FROM now() - COALESCE(c.claimed_at, t.updated_at))::double precision AS "seconds!", h.queue,
       c.worker_id AS "claimed_by?"
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[]) WITH ORDINALITY
     AS r (job_id, stage, task_id, attempt, place)
JOIN tasks t ON t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
JOIN worker_handlers h ON h.handler_id = t.handler_id
LEFT JOIN LATERAL (
    SELECT c.worker_id, c.claimed_at, c.last_ordinal
    FROM worker_claims c
    WHERE r.attempt = t.attempt + 1 AND t.attempt = COALESCE(t.attempts_forgiven, 0) AND t.ready_at IS NULL AND t.status::text = ANY ($6)
      AND c.job_id = r.job_id AND c.stage = r.stage AND c.first_ordinal <= t.ordinal
    ORDER BY c.first_ordinal DESC
    LIMIT 1
) c ON c.last_ordinal >= t.ordinal
