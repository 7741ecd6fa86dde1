-- Counts that a new message, written at $5, was sent for tasks whose old one could not be delivered. Two who send at the
-- same moment count once: $4 is the count that they saw. $6: how much that adds to the tasks' own messages (a coarse
-- message is its batch's). Locks: the tasks' rows in key order. Index: tasks_pkey.
UPDATE tasks t
SET poisoned = given_back.poisoned + 1, poisoned_at = $5, retry_count = t.retry_count + $6, updated_at = now()
FROM UNNEST($3::text[], $4::smallint[]) AS given_back (task_id, poisoned)
WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = given_back.task_id
  AND COALESCE(t.poisoned, 0) = given_back.poisoned
