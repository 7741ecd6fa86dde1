-- Up to $4 tasks of a job after the task $3 of stage $2, in key order, until their content reaches $5 bytes, for the archive; with what
-- their last attempt said. Index: tasks_pkey, task_notes_pkey.
WITH page AS MATERIALIZED (
    SELECT t.*
    FROM tasks t
    WHERE t.parent_job_id = $1 AND (t.stage, t.task_id) > ($2, $3)
    ORDER BY t.stage, t.task_id
    LIMIT $4
), sized AS MATERIALIZED (
    SELECT p.*, n.progress, n.message, n.log_tail,
           sum(octet_length(p.parameters::text) + COALESCE(octet_length(p.result_data::text), 0)
               + COALESCE(octet_length(p.error_details), 0) + COALESCE(octet_length(n.log_tail), 0))
               OVER (ORDER BY p.stage, p.task_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM page p
    LEFT JOIN LATERAL (
        SELECT n.progress, n.message, n.log_tail FROM task_notes n
        WHERE n.job_id = p.parent_job_id AND n.stage = p.stage AND n.task_id = p.task_id
        LIMIT 1
    ) n ON true
)
SELECT stage, task_id AS "task_id!: String", task_type, task_index, ordinal, status::text AS "status!: TaskStatus", attempt, retry_count,
       batch_id, parent_task_id AS "parent_task_id: String", parameters, result_data, error_details, created_at, updated_at, started_at,
       finished_at, worker_id, progress AS "progress?", message AS "message?", log_tail AS "log_tail?"
FROM sized
WHERE COALESCE(bytes_before, 0) < $5
ORDER BY stage, task_id
