-- Takes up to $2 deferred tasks of running jobs whose new message is due, in the order in which
-- they became due: each counts as sent, and is due again after $1 seconds unless it is claimed.
-- Tasks that were sent in the last $5 seconds and not yet claimed count towards the $2. A task that
-- was started or is finished needs no message: its due time is cleared. $3: the states from which a
-- task may be started; $4: those from which its message is sent. The job is read by a subquery:
-- with a join, a plan made on empty tables would read all running jobs for each task. Parameters
-- that are too large for a message are not read. Locks: the tasks' rows; skips rows that are
-- locked. Index: tasks_deferred, tasks_pkey, jobs_pkey.
WITH due AS MATERIALIZED (
    SELECT d.parent_job_id, d.stage, d.task_id,
           d.status::text = ANY ($3) AND d.status <> 'processing' AS waits
    FROM tasks d
    WHERE d.next_send_at <= now()
      AND (SELECT j.status = 'processing' FROM jobs j WHERE j.job_id = d.parent_job_id)
    ORDER BY d.next_send_at
    LIMIT GREATEST($2 - (SELECT count(*)
                         FROM (SELECT FROM tasks s
                               WHERE s.next_send_at > now() + make_interval(secs => $1::float8 - $5::float8)
                               LIMIT $2) AS arriving), 0)
    FOR UPDATE OF d SKIP LOCKED
), taken AS (
    UPDATE tasks t
    SET next_send_at = CASE WHEN due.waits THEN now() + make_interval(secs => $1) END,
        status = CASE WHEN due.waits AND t.status::text = ANY ($4) THEN 'queued' ELSE t.status END,
        retry_count = LEAST(t.retry_count + due.waits::integer, 32767)
    FROM due
    WHERE t.parent_job_id = due.parent_job_id AND t.stage = due.stage AND t.task_id = due.task_id
    RETURNING t.parent_job_id AS job_id, t.stage, t.task_id, t.job_type, t.task_type, t.task_index, t.parent_task_id,
              CASE WHEN octet_length(t.parameters::text) <= 8192 THEN t.parameters ELSE '{}' END AS parameters,
              t.attempt, t.retry_count, t.attempt - COALESCE(t.attempts_forgiven, 0) AS tries, due.waits
)
SELECT job_id, stage, task_id, job_type, task_type, task_index, parent_task_id, parameters AS "parameters!", attempt,
       retry_count AS resends, tries AS "tries!", waits AS "waits!",
       (SELECT j.processing_path FROM jobs j WHERE j.job_id = taken.job_id) AS "path!: ProcessingPath",
       COALESCE((SELECT j.traceparent FROM jobs j WHERE j.job_id = taken.job_id), '') AS "trace!: StoredTrace"
FROM taken
