-- The standing of attempts that workers name: a row for each whose task exists. $5: a lease that ends
-- in less than these seconds is short. Index: tasks_pkey, jobs_pkey,
-- worker_handlers_pkey.
SELECT r.place AS "place!", (SELECT j.status::text FROM jobs j WHERE j.job_id = r.job_id) AS "job_status: JobStatus",
       t.status::text AS "task_status!: TaskStatus", t.attempt = r.attempt AS "is_newest!", t.due_at IS NOT NULL AS "is_postponed!",
       t.job_type, t.task_type, t.attempt - COALESCE(t.attempts_forgiven, 0) AS "tries!",
       COALESCE(t.lease_until < now() + make_interval(secs => $5), false) AS "is_short!",
       EXTRACT(EPOCH FROM now() - t.updated_at)::double precision AS "seconds!", h.queue
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[]) WITH ORDINALITY
     AS r (job_id, stage, task_id, attempt, place)
JOIN tasks t ON t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
JOIN worker_handlers h ON h.handler_id = t.handler_id
