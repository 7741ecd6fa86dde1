-- The tasks of one batch that still need a message, in the order of the plan. Without deferred
-- tasks, which get their message from take_deferred.sql. Each task is found by its whole key, with
-- job and stage beside the id in one row: otherwise a plan made on empty tables would read the
-- whole stage for each. Parameters that are too large for a message are not read. Index:
-- task_batches_pkey, tasks_pkey, jobs_pkey.
WITH batch AS MATERIALIZED (
    SELECT b.job_id, b.stage, b.sends, id.task_id
    FROM task_batches b
    CROSS JOIN UNNEST(b.task_ids) AS id (task_id)
    WHERE b.job_id = $1 AND b.stage = $2 AND b.batch_no = $3
)
SELECT t.task_id, t.job_type, t.task_type, t.task_index, t.parent_task_id,
       CASE WHEN octet_length(t.parameters::text) <= 8192 THEN t.parameters ELSE '{}' END AS "parameters!", t.attempt,
       t.retry_count + b.sends AS "resends!", COALESCE(j.traceparent, '') AS "trace!: StoredTrace"
FROM batch b
JOIN tasks t ON t.parent_job_id = b.job_id AND t.stage = b.stage AND t.task_id = b.task_id
JOIN jobs j ON j.job_id = b.job_id
WHERE t.status IN ('pending_queue', 'queued', 'retrying') AND t.next_send_at IS NULL
ORDER BY t.ordinal
