-- Writes the tasks of a chunk of a plan; a task that exists stays unchanged. $12: the handler, if
-- they are for workers: then they are ready with their batches.
-- Attempts count from those of the job's runs before. Index: tasks_pkey, for the conflict; jobs_pkey.
INSERT INTO tasks (parent_job_id, stage, task_id, ordinal, status, job_type, task_type, task_index,
                   batch_id, parent_task_id, parent_stage, parameters, handler_id, attempt, attempts_forgiven)
SELECT $1, $2, new.task_id, new.ordinal, 'queued', $3, $4, new.task_index,
       new.batch_id, new.parent_task_id, new.parent_stage, new.parameters::json,
       $12::integer, (SELECT j.attempts_before FROM jobs j WHERE j.job_id = $1),
       (SELECT NULLIF(j.attempts_before, 0) FROM jobs j WHERE j.job_id = $1)
FROM UNNEST($5::text[], $6::integer[], $7::text[], $8::text[], $9::text[], $10::text[], $11::smallint[])
     AS new (task_id, ordinal, task_index, batch_id, parent_task_id, parameters, parent_stage)
ON CONFLICT (parent_job_id, stage, task_id) DO NOTHING
