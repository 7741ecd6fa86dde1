-- Takes back an attempt from the count of attempts: it could not begin its work. Only while it is
-- the attempt that holds the task. Locks: the task's row. Index: tasks_pkey.
UPDATE tasks
SET attempts_forgiven = LEAST(COALESCE(attempts_forgiven, 0) + 1, attempt)
WHERE parent_job_id = $1 AND stage = $2 AND task_id = $3 AND attempt = $4 AND status = 'processing'
