-- Counts that a new message, written at $5, was sent for tasks whose old message could not be
-- delivered. Of two senders at the same moment one counts: $4 are the counts that the sender read.
-- $6: the batch, if one message was for all of its tasks; null if each task had its own message.
-- Each task is found by its whole key, with job and stage beside the id in one row: otherwise a
-- plan made on empty tables would read the whole stage for each. Locks: the tasks' rows in key
-- order, then the batch's. Index: tasks_pkey, task_batches_pkey.
WITH redelivered AS MATERIALIZED (
    SELECT $1::text AS job_id, $2::smallint AS stage, r.task_id, r.poisoned
    FROM UNNEST($3::text[], $4::smallint[]) AS r (task_id, poisoned)
    ORDER BY r.task_id COLLATE "C"
), counted AS (
    UPDATE tasks t
    SET poisoned = r.poisoned + 1, poisoned_at = $5, updated_at = now(),
        retry_count = LEAST(t.retry_count + ($6::integer IS NULL)::integer, 32767)
    FROM redelivered r
    WHERE t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
      AND COALESCE(t.poisoned, 0) = r.poisoned
    RETURNING t.task_id
)
UPDATE task_batches b
SET messages = b.messages + 1
WHERE b.job_id = $1 AND b.stage = $2 AND b.batch_no = $6 AND EXISTS (SELECT FROM counted)
