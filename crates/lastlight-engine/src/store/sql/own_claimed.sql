-- Gives tasks in claims of batches a state of their own: they run in their first attempt, with a lease of $7 seconds.
-- Returns a row for each. $5: the workers that claimed them; $6: since when, in seconds; $8: the states from which a task may
-- start; $9: the states in which a job runs. Locks: the tasks' rows in key order. Index: tasks_pkey, jobs_pkey.
UPDATE tasks t
SET status = 'processing', attempt = t.attempt + 1, heartbeat = now(), lease_until = now() + make_interval(secs => $7),
    started_at = now() - make_interval(secs => r.seconds), worker_id = r.worker, updated_at = now() - make_interval(secs => r.seconds)
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[], $5::text[], $6::double precision[]) WITH ORDINALITY
     AS r (job_id, stage, task_id, attempt, worker, seconds, place)
WHERE t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id AND r.attempt = t.attempt + 1
  AND t.attempt = COALESCE(t.attempts_forgiven, 0) AND t.ready_at IS NULL AND t.status::text = ANY ($8)
  AND (SELECT j.status::text = ANY ($9) FROM jobs j WHERE j.job_id = r.job_id)
RETURNING r.place AS "place!"
