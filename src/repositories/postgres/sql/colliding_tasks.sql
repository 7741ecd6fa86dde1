-- Which of these definitions met another task's id: two semantic indexes that are the same once everything
-- outside [A-Za-z0-9-] became '-'. Index: tasks_pkey.
SELECT new.task_index AS wanted, t.task_index AS present
FROM UNNEST($3::text[], $4::text[]) AS new (task_id, task_index)
JOIN tasks t ON t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = new.task_id
WHERE t.task_index <> new.task_index
LIMIT 1
