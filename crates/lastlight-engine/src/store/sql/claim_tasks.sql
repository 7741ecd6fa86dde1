-- Claims a group of tasks; each task is named once, in key order. Returns a row for each task that
-- was claimed: its job is not finished, and the task is open and due, or runs under an expired
-- lease. A task for workers is not claimed by a message. Attempts are counted here, so that an attempt that kills its process counts. The job is
-- read by a subquery: with a join, a plan made on empty tables may begin with the job and read all
-- of its tasks for each claim. $4: lease in seconds; $5: the states from which a task may start;
-- $6: the states in which a job runs. The inputs of a task are returned if they have at most $7
-- bytes each; of larger ones only the length, since a group of large inputs would fill the memory.
-- Locks: the tasks' rows, in key order. Index: tasks_pkey, jobs_pkey.
UPDATE tasks t
SET status = 'processing', attempt = t.attempt + 1, heartbeat = now(),
    lease_until = now() + make_interval(secs => $4), started_at = COALESCE(t.started_at, now()),
    next_send_at = NULL, updated_at = now()
FROM UNNEST($1::text[], $2::smallint[], $3::text[]) WITH ORDINALITY AS wanted (job_id, stage, task_id, place)
WHERE t.parent_job_id = wanted.job_id AND t.stage = wanted.stage AND t.task_id = wanted.task_id
  AND (SELECT j.status::text = ANY ($6) FROM jobs j WHERE j.job_id = wanted.job_id)
  AND t.status::text = ANY ($5) AND t.handler_id IS NULL
  AND (t.status <> 'processing' OR t.lease_until < now())
  AND (t.status <> 'retrying' OR t.due_at IS NULL OR t.due_at <= now())
RETURNING wanted.place AS "place!", t.attempt, t.attempt - COALESCE(t.attempts_forgiven, 0) AS "tries!",
          t.job_type, t.task_type, octet_length(t.parameters::text) AS "parameters_bytes!",
          CASE WHEN octet_length(t.parameters::text) <= $7 THEN t.parameters END AS parameters,
          (SELECT ARRAY[octet_length(p.result_data::text)::text,
                        CASE WHEN octet_length(p.result_data::text) <= $7 THEN p.result_data::text END]
           FROM tasks p
           WHERE p.parent_job_id = t.parent_job_id AND p.stage = COALESCE(t.parent_stage, t.stage - 1) AND p.task_id = t.parent_task_id
             AND p.status = 'completed') AS "predecessor: Vec<Option<String>>"
