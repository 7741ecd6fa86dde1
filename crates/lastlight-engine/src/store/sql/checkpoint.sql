-- The checkpoint of a task, if one was saved. Locks nothing. Index: task_notes_pkey.
SELECT checkpoint FROM task_notes WHERE job_id = $1 AND stage = $2 AND task_id = $3
