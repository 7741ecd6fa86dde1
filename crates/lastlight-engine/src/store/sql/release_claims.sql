-- Releases claims whose attempts never began: the tasks may be claimed again at once, and the
-- attempts do not count. $5: seconds after which a message for them is presumed lost; those for
-- workers need none. $6: the
-- states from which a retry is legal. Index: tasks_pkey.
UPDATE tasks t
SET status = 'retrying', due_at = NULL, lease_until = CASE WHEN t.handler_id IS NULL THEN now() + make_interval(secs => $5) END,
    ready_at = CASE WHEN t.handler_id IS NOT NULL THEN now() END,
    attempts_forgiven = COALESCE(t.attempts_forgiven, 0) + 1, updated_at = now()
FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[]) AS r (job_id, stage, task_id, attempt)
WHERE t.parent_job_id = r.job_id AND t.stage = r.stage AND t.task_id = r.task_id
  AND t.status::text = ANY ($6) AND t.attempt = r.attempt
