-- The failed tasks of a stage in key order, after the id $3: the first $4 among the next $5, until
-- their content reaches $6 bytes. If there are fewer than $4, a last row, without a task, gives the
-- position where the search stopped. Each key is looked up separately (LIMIT 1): a plan made before
-- the table has statistics would join the page to the whole stage. Locks nothing. Index:
-- tasks_failed, tasks_pkey, task_notes_pkey.
WITH page AS MATERIALIZED (
    SELECT looked.task_id, looked.place
    FROM (
        SELECT t.task_id, row_number() OVER (ORDER BY t.task_id) AS place
        FROM tasks t
        WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id > $3
          AND t.failed_at IS NOT NULL
        ORDER BY t.task_id
        LIMIT $5::bigint
    ) looked
    ORDER BY looked.task_id
    LIMIT $4::bigint
), stop AS (
    SELECT looked.task_id, looked.place
    FROM (
        SELECT t.task_id, row_number() OVER (ORDER BY t.task_id) AS place
        FROM tasks t
        WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id > $3
          AND t.failed_at IS NOT NULL
          AND (SELECT count(*) FROM page) < $4
        ORDER BY t.task_id
        LIMIT $5::bigint
    ) looked
    ORDER BY looked.place DESC
    LIMIT 1
), sized AS (
    SELECT page.task_id, page.place, sum(own.bytes) OVER (ORDER BY page.place) - own.bytes AS bytes_before
    FROM page
    CROSS JOIN LATERAL (
        SELECT octet_length(t.parameters::text) + COALESCE(octet_length(t.result_data::text), 0)
                   + COALESCE(octet_length(t.error_details), 0) AS bytes
        FROM tasks t
        WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = page.task_id
        LIMIT 1
    ) own
)
SELECT keys.place AS "place!", keys.task_id AS "task_id!: String", t.job_type AS "job_type?", t.task_type AS "task_type?",
       t.task_index AS "task_index?", t.ordinal AS "ordinal?",
       CASE WHEN t.status = 'queued' AND b.status = 'pending_queue' THEN 'pending_queue' ELSE t.status::text END
           AS "status?: TaskStatus",
       t.attempt AS "attempt?", t.retry_count AS "retry_count?", t.batch_id AS "batch_id?",
       t.parent_task_id AS "parent_task_id?: String", t.parameters AS "parameters?", t.result_data AS "result_data?",
       t.error_details AS "error_details?", t.created_at AS "created_at?", t.updated_at AS "updated_at?",
       t.started_at AS "started_at?", t.finished_at AS "finished_at?", t.due_at AS "due_at?", t.lease_until AS "lease_until?",
       n.progress AS "progress?", n.message AS "message?",
       t.worker_id AS "worker_id?"
FROM (
    SELECT place, true AS is_task, task_id FROM sized WHERE bytes_before < $6::bigint
    UNION ALL
    SELECT place, false, task_id FROM stop WHERE NOT EXISTS (SELECT FROM sized WHERE bytes_before >= $6::bigint)
) keys
LEFT JOIN LATERAL (
    SELECT * FROM tasks t WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = keys.task_id LIMIT 1
) t ON keys.is_task
LEFT JOIN LATERAL (
    SELECT b.status FROM task_batches b
    WHERE b.job_id = $1 AND b.stage = $2 AND b.batch_no = split_part(t.batch_id, '-b', 2)::integer
    LIMIT 1
) b ON t.status = 'queued'
LEFT JOIN LATERAL (
    SELECT n.progress, n.message FROM task_notes n
    WHERE n.job_id = $1 AND n.stage = $2 AND n.task_id = keys.task_id AND n.attempt = t.attempt
    LIMIT 1
) n ON keys.is_task
ORDER BY keys.is_task DESC, keys.place
