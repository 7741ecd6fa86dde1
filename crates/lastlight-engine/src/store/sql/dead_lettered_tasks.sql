-- The state of the tasks that a dead-lettered message names, and the content of a new message for
-- them. Returns a row for each task that exists, in the order of the plan; no row if the job does
-- not exist. A valid lease belongs to an attempt, or to a message that is on its way to a task that
-- is to be repeated. Each task is found by its whole key, with job and stage beside the id in one
-- row: otherwise a plan made on empty tables would read the whole stage. Parameters that are too
-- large for a message are not read. Index: jobs_pkey, stages_pkey, tasks_pkey.
WITH named AS MATERIALIZED (
    SELECT DISTINCT $1::text AS job_id, $2::smallint AS stage, n.task_id
    FROM UNNEST($3::text[]) AS n (task_id)
)
SELECT j.status::text AS "job_status!: JobStatus", j.processing_path AS path,
       COALESCE(j.traceparent, '') AS "trace!: StoredTrace",
       s.planned_at IS NOT NULL AND s.advanced_at IS NULL
           AND s.completed + s.failed + s.skipped = s.total AS ended,
       t.task_id AS "task_id?", t.status::text AS "task_status: TaskStatus", t.job_type AS "job_type?",
       t.task_type AS "task_type?", t.task_index AS "task_index?", t.parent_task_id,
       CASE WHEN octet_length(t.parameters::text) <= 8192 THEN t.parameters ELSE '{}' END AS parameters,
       t.attempt AS "attempt?", t.retry_count AS "resends?", t.lease_until > now() AS leased,
       t.next_send_at IS NOT NULL AS deferred, t.poisoned, t.poisoned_at
FROM jobs j
LEFT JOIN stages s ON s.job_id = j.job_id AND s.stage = $2
LEFT JOIN (named n JOIN tasks t ON t.parent_job_id = n.job_id AND t.stage = n.stage AND t.task_id = n.task_id) ON true
WHERE j.job_id = $1
ORDER BY t.ordinal
