-- Extends the leases of the attempts that run in this process, in key order. Returns a row for each
-- attempt that still holds its task. Locks: the tasks' rows in key order, as a group of completions
-- does. Index: tasks_pkey, jobs_pkey.
UPDATE tasks t
SET heartbeat = now(), lease_until = now() + make_interval(secs => $5)
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[]) WITH ORDINALITY
     AS r (job_id, stage, task_id, attempt, place)
JOIN jobs j ON j.job_id = r.job_id AND j.status::text = ANY ($6)
WHERE t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
  AND t.status = 'processing' AND t.attempt = r.attempt
RETURNING r.place AS "place!"
