-- Counts that a new message, written at $5, was sent for tasks whose old one could not be delivered. Two who send at the
-- same moment count once: $4 is the count that they saw. $6: the batch whose message it was, if it was one for all of them;
-- otherwise it was the tasks' own.
-- Locks: the tasks' rows in key order, then the batch's. Index: tasks_pkey, task_batches_pkey.
WITH counted AS (
    UPDATE tasks t
    SET poisoned = given_back.poisoned + 1, poisoned_at = $5, updated_at = now(),
        retry_count = t.retry_count + ($6::integer IS NULL)::integer::smallint
    FROM UNNEST($3::text[], $4::smallint[]) AS given_back (task_id, poisoned)
    WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = given_back.task_id
      AND COALESCE(t.poisoned, 0) = given_back.poisoned
    RETURNING t.task_id
)
UPDATE task_batches b
SET messages = b.messages + 1
WHERE b.job_id = $1 AND b.stage = $2 AND b.batch_no = $6 AND EXISTS (SELECT FROM counted)
