-- One page of a stage's outcomes, in key order. Index: tasks_pkey.
SELECT task_id AS "task_id: String", ordinal, task_index, status::text AS "status!: TaskStatus", result_data AS result,
       error_details AS error,
       (EXTRACT(EPOCH FROM finished_at - created_at) * 1000000)::bigint AS latency_us
FROM tasks
WHERE parent_job_id = $1 AND stage = $2 AND task_id > $3
ORDER BY task_id
LIMIT $4
