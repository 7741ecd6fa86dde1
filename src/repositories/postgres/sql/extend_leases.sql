-- Heartbeat of the attempts that run in this process. Index: tasks_pkey.
UPDATE tasks t
SET heartbeat = now(), lease_until = now() + make_interval(secs => $5)
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[]) AS r (job_id, stage, task_id, attempt)
WHERE t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
  AND t.status = 'processing' AND t.attempt = r.attempt
