-- Makes tasks due again, with a new message, whose attempt died (its lease expired), and retries
-- whose message is overdue. The count of messages stops at the maximum of its column: a task whose
-- function is disabled for weeks gets one message per minute. A deferred retry gets its new message
-- from take_deferred.sql. A task for workers gets no message: it is ready again. $1: seconds until the tasks are examined again; $3: states from which a
-- retry is legal. Parameters that are too large for a message are not read. The job's status is
-- compared as text, which no index contains: otherwise a plan made on empty tables would begin with
-- all running jobs and read all their tasks, those of earlier stages too. Index: stages_open,
-- jobs_pkey, tasks_pkey. Their numbers are noted in the events of each job.
WITH due AS (
    UPDATE tasks t
    SET status = 'retrying', lease_until = CASE WHEN t.handler_id IS NULL THEN now() + make_interval(secs => $1) END,
        ready_at = CASE WHEN t.handler_id IS NOT NULL THEN now() END, retry_count = LEAST(t.retry_count + 1, 32767),
        updated_at = now()
    FROM (
        SELECT d.parent_job_id, d.stage, d.task_id, d.status, j.processing_path, j.traceparent
        FROM stages s
        JOIN jobs j ON j.job_id = s.job_id AND j.status::text = 'processing'
        JOIN tasks d ON d.parent_job_id = s.job_id AND d.stage = s.stage
        WHERE s.advanced_at IS NULL AND d.lease_until < now()
          AND (d.status = 'retrying' AND d.next_send_at IS NULL OR d.status::text = ANY ($3))
        LIMIT $2
        FOR UPDATE OF d SKIP LOCKED
    ) dead
    WHERE t.parent_job_id = dead.parent_job_id AND t.stage = dead.stage AND t.task_id = dead.task_id
    RETURNING t.parent_job_id AS job_id, t.stage, t.task_id, t.job_type, t.task_type, t.task_index, t.parent_task_id,
              CASE WHEN octet_length(t.parameters::text) <= 8192 THEN t.parameters ELSE '{}' END AS parameters, t.attempt,
              t.retry_count, t.attempt - COALESCE(t.attempts_forgiven, 0) AS tries, dead.processing_path,
              COALESCE(dead.traceparent, '') AS trace, t.handler_id, dead.status
), noted AS MATERIALIZED (
    SELECT note_repair(d.job_id, d.stage, d.what, d.tasks)
    FROM (SELECT job_id, stage, count(*) AS tasks,
                 CASE WHEN status = 'retrying' THEN 'messages_resent' ELSE 'attempts_presumed_dead' END AS what
          FROM due
          GROUP BY job_id, stage, what) d
)
SELECT d.job_id AS "job_id!: JobId", d.stage AS "stage!: Stage", d.task_id AS "task_id!: TaskId", d.job_type AS "job_type!",
       d.task_type AS "task_type!", d.task_index AS "task_index!", d.parent_task_id AS "parent_task_id: TaskId", d.parameters AS "parameters!",
       d.attempt AS "attempt!", d.retry_count AS "resends!", d.tries AS "tries!", d.processing_path AS "path!: ProcessingPath",
       d.trace AS "trace!: StoredTrace", d.handler_id
FROM due d
-- A query that nothing refers to is not run.
WHERE (SELECT count(*) FROM noted) >= 0
