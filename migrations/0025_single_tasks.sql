-- Single tasks that users retry or skip.
ALTER TABLE tasks
    -- True: a user skipped the task, so that a retry of its job leaves it as it is.
    ADD COLUMN skipped_by_user boolean;

-- Writes the event of a request for some tasks of a stage. With the rights of its owner.
CREATE FUNCTION note_task_change(of_job text, of_stage smallint, what text, tasks bigint, more json) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT note_job_event(of_job, j.run, of_stage, what, json_build_object('tasks', tasks, 'task_id', more -> 'task_id', 'error', more -> 'error'))
    FROM jobs j
    WHERE j.job_id = of_job
$$;
