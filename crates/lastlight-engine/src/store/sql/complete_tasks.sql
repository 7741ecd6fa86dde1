-- Records the ends of a group of attempts, in key order. Returns a row for each one that counts,
-- because its attempt held the task and its job is not finished. Outcomes are added to the counters
-- of each stage, once for the whole group. An attempt that is to be repeated ($8: pause in seconds)
-- makes the task due after that pause; $11 seconds later its message is presumed lost, unless it is for workers: then it
-- is ready after the pause. A first attempt in a claim of a batch ($12: the worker; $13: since when, in seconds) has no
-- state of its own: it starts and ends here. $14: the states from which it may start. $9: the
-- states from which an end of an attempt is legal; $10: the states in which a job runs, which is read by a
-- subquery: with a join, a plan made on empty tables may read all tasks of the job for each. Locks: the
-- tasks' rows in key order, then the stages' rows in key order. Index: tasks_pkey, jobs_pkey,
-- stages_pkey.
WITH written AS (
    UPDATE tasks t
    SET status = o.status::task_status, attempt = o.attempt,
        started_at = COALESCE(t.started_at, now() - make_interval(secs => o.seconds)),
        worker_id = COALESCE(o.worker, t.worker_id), result_data = o.result::json, error_details = o.error,
        due_at = now() + make_interval(secs => o.pause),
        lease_until = CASE WHEN t.handler_id IS NULL THEN now() + make_interval(secs => o.pause + $11) END,
        ready_at = CASE WHEN t.handler_id IS NOT NULL THEN now() + make_interval(secs => o.pause) END,
        retry_count = LEAST(t.retry_count + (o.pause IS NOT NULL)::integer, 32767),
        updated_at = now(), finished_at = CASE WHEN o.pause IS NULL THEN now() END
    FROM UNNEST($1::text[], $2::smallint[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[],
                $8::double precision[], $12::text[], $13::double precision[])
         WITH ORDINALITY AS o (job_id, stage, task_id, attempt, status, result, error, pause, worker, seconds, place)
    WHERE t.parent_job_id = o.job_id AND t.stage = o.stage AND t.task_id = o.task_id
      AND (SELECT j.status::text = ANY ($10) FROM jobs j WHERE j.job_id = o.job_id)
      AND (t.status::text = ANY ($9) AND t.attempt = o.attempt
           OR o.worker IS NOT NULL AND o.attempt = t.attempt + 1 AND t.attempt = COALESCE(t.attempts_forgiven, 0)
              AND t.ready_at IS NULL AND t.status::text = ANY ($14))
    RETURNING o.place, t.parent_job_id AS job_id, t.stage, t.status
), per_stage AS (
    SELECT job_id, stage,
           count(*) FILTER (WHERE status = 'completed') AS completed,
           count(*) FILTER (WHERE status = 'failed') AS failed
    FROM written
    GROUP BY job_id, stage
), locked AS (
    SELECT s.job_id, s.stage
    FROM stages s
    JOIN per_stage p ON p.job_id = s.job_id AND p.stage = s.stage
    ORDER BY s.job_id, s.stage
    FOR UPDATE OF s
), counted AS (
    UPDATE stages s
    SET completed = s.completed + p.completed, failed = s.failed + p.failed, updated_at = now()
    FROM per_stage p
    JOIN locked l ON l.job_id = p.job_id AND l.stage = p.stage
    WHERE s.job_id = p.job_id AND s.stage = p.stage
    RETURNING s.job_id, s.stage,
              s.planned_at IS NOT NULL AND s.completed + s.failed + s.skipped = s.total AS ended
)
SELECT w.place AS "place!", c.ended AS "ended!"
FROM written w
JOIN counted c ON c.job_id = w.job_id AND c.stage = w.stage
