-- One task with all its fields, as the lists show it. Locks nothing. Index: tasks_pkey,
-- task_batches_pkey, task_notes_pkey.
SELECT 1::bigint AS "place!", t.task_id AS "task_id!: String", t.job_type AS "job_type?", t.task_type AS "task_type?",
       t.task_index AS "task_index?", t.ordinal AS "ordinal?",
       CASE WHEN t.status = 'queued' AND b.status = 'pending_queue' THEN 'pending_queue' ELSE t.status::text END
           AS "status?: TaskStatus",
       t.attempt AS "attempt?", t.retry_count AS "retry_count?", t.batch_id AS "batch_id?",
       t.parent_task_id AS "parent_task_id?: String", t.parameters AS "parameters?", t.result_data AS "result_data?",
       t.error_details AS "error_details?", t.created_at AS "created_at?", t.updated_at AS "updated_at?",
       t.started_at AS "started_at?", t.finished_at AS "finished_at?", t.due_at AS "due_at?", t.lease_until AS "lease_until?",
       n.progress AS "progress?", n.message AS "message?",
       t.worker_id AS "worker_id?"
FROM tasks t
LEFT JOIN LATERAL (
    SELECT b.status FROM task_batches b
    WHERE b.job_id = $1 AND b.stage = $2 AND b.batch_no = split_part(t.batch_id, '-b', 2)::integer
    LIMIT 1
) b ON t.status = 'queued'
LEFT JOIN LATERAL (
    SELECT n.progress, n.message FROM task_notes n
    WHERE n.job_id = $1 AND n.stage = $2 AND n.task_id = $3 AND n.attempt = t.attempt
    LIMIT 1
) n ON true
WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = $3
