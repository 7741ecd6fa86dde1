-- Saves the checkpoint of a running attempt, only while it holds its task. No row means that it
-- does not. Locks: the row of the notes. Index: tasks_pkey, task_notes_pkey.
INSERT INTO task_notes AS n (job_id, stage, task_id, attempt, checkpoint)
SELECT t.parent_job_id, t.stage, t.task_id, t.attempt, $5::json
FROM tasks t
WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = $3 AND t.attempt = $4 AND t.status::text = 'processing'
ON CONFLICT (job_id, stage, task_id) DO UPDATE
SET checkpoint = EXCLUDED.checkpoint, updated_at = now()
