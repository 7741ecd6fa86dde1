-- What the attempts of a task said about themselves. Locks nothing. Index: task_notes_pkey.
SELECT attempt, progress, message, log_tail, checkpoint, updated_at
FROM task_notes
WHERE job_id = $1 AND stage = $2 AND task_id = $3
