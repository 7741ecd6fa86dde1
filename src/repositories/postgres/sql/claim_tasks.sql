-- A group of claims: one row out for each one in. A task is claimed if its job is not over and it is open,
-- or runs under a lease that ran out. Attempts grow here, so that an attempt which kills its process counts.
-- $4: lease in seconds; $5: the states from which a task may start; $6: the states in which a job runs.
-- Locks: the tasks' rows, in key order within one process. Index: tasks_pkey, jobs_pkey, stages_pkey.
WITH wanted AS (
    SELECT job_id, stage, task_id, min(place) AS place
    FROM UNNEST($1::text[], $2::smallint[], $3::text[]) WITH ORDINALITY AS w (job_id, stage, task_id, place)
    GROUP BY job_id, stage, task_id
    ORDER BY job_id, stage, task_id
), claimed AS (
    UPDATE tasks t
    SET status = 'processing', attempt = t.attempt + 1, heartbeat = now(),
        lease_until = now() + make_interval(secs => $4), started_at = COALESCE(t.started_at, now()),
        updated_at = now()
    FROM wanted w
    JOIN jobs j ON j.job_id = w.job_id AND j.status::text = ANY ($6)
    WHERE t.parent_job_id = w.job_id AND t.stage = w.stage AND t.task_id = w.task_id
      AND t.status::text = ANY ($5)
      AND (t.status <> 'processing' OR t.lease_until < now())
    RETURNING w.place, t.parent_job_id, t.stage, t.job_type, t.task_type, t.attempt, t.parameters, t.parent_task_id
)
SELECT w.place AS place,
       j.status::text AS job_status,
       t.status::text AS task_status,
       s.planned_at IS NOT NULL AND s.advanced_at IS NULL
           AND s.completed + s.failed + s.skipped = s.total AS ended,
       c.attempt, c.job_type, c.task_type, c.parameters, p.result_data AS predecessor_result
FROM wanted w
LEFT JOIN claimed c ON c.place = w.place
LEFT JOIN jobs j ON j.job_id = w.job_id
LEFT JOIN tasks t ON t.parent_job_id = w.job_id AND t.stage = w.stage AND t.task_id = w.task_id
LEFT JOIN stages s ON s.job_id = w.job_id AND s.stage = w.stage
LEFT JOIN tasks p ON p.parent_job_id = c.parent_job_id AND p.stage = c.stage - 1 AND p.task_id = c.parent_task_id
                 AND p.status = 'completed'
