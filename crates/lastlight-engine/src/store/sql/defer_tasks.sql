-- Defers a group of tasks, in key order, whose messages arrived when the process had no capacity to
-- start them: a new message for each is due at once. Returns a row for each task that waits to be
-- started. A task that runs, is finished, waits for its next attempt, or is for workers
-- stays unchanged. A task
-- whose new message is already due keeps its position; a task that was started before goes first.
-- $4: the states from which a task becomes unsent. Locks: the tasks' rows in key order, as a group
-- of claims does. Index: tasks_pkey.
UPDATE tasks t
SET status = CASE WHEN t.status::text = ANY ($4) THEN 'pending_queue' ELSE t.status END,
    next_send_at = LEAST(t.next_send_at, CASE WHEN t.attempt > 0 THEN now() - interval '1 day' ELSE now() END),
    updated_at = now()
FROM UNNEST($1::text[], $2::smallint[], $3::text[]) WITH ORDINALITY AS wanted (job_id, stage, task_id, place)
WHERE t.parent_job_id = wanted.job_id AND t.stage = wanted.stage AND t.task_id = wanted.task_id
  AND t.handler_id IS NULL
  AND (t.status::text = ANY ($4) OR t.status = 'pending_queue'
       OR (t.status = 'retrying' AND (t.due_at IS NULL OR t.due_at <= now())))
RETURNING wanted.place AS "place!"
