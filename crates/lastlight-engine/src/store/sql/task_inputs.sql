-- The inputs of a task, if they were too large to be returned by its claim: its parameters and the
-- result of its predecessor. Index: tasks_pkey. Locks nothing.
SELECT t.parameters,
       (SELECT p.result_data
        FROM tasks p
        WHERE p.parent_job_id = t.parent_job_id AND p.stage = COALESCE(t.parent_stage, t.stage - 1) AND p.task_id = t.parent_task_id
          AND p.status = 'completed') AS predecessor_result
FROM tasks t
WHERE t.parent_job_id = $1 AND t.stage = $2 AND t.task_id = $3
