-- Ends up to $1 claims of batches whose lease has expired. Their tasks that have no state of their own are ready again, with the
-- attempt counted; a job that has finished skips its own. Returns the number of claims and of these tasks, which is noted in the events of each job. $2: the states from which a task may start; $3: the
-- states in which a job runs. The tasks are found by their whole keys, which the batch has. Locks: the claims'
-- rows, skips rows that are locked; then the tasks' rows in key order. Index: worker_claims_expiry, worker_claims_pkey, task_batches_pkey, tasks_pkey, jobs_pkey.
WITH dead AS MATERIALIZED (
    SELECT c.job_id, c.stage, c.first_ordinal, c.last_ordinal, c.batch_no, c.worker_id, c.claimed_at
    FROM worker_claims c
    WHERE c.lease_until < now()
    ORDER BY c.lease_until
    LIMIT $1
    FOR UPDATE OF c SKIP LOCKED
), named AS MATERIALIZED (
    SELECT d.job_id, d.stage, d.first_ordinal, d.last_ordinal, d.worker_id, d.claimed_at, id.task_id
    FROM dead d
    CROSS JOIN LATERAL (SELECT b.task_ids FROM task_batches b
                        WHERE b.job_id = d.job_id AND b.stage = d.stage AND b.batch_no = d.batch_no) b
    CROSS JOIN LATERAL UNNEST(b.task_ids) AS id (task_id)
    WHERE (SELECT s.advanced_at IS NULL FROM stages s WHERE s.job_id = d.job_id AND s.stage = d.stage)
      AND (SELECT j.status::text = ANY ($3) FROM jobs j WHERE j.job_id = d.job_id)
), lost AS MATERIALIZED (
    SELECT n.job_id, n.stage, n.task_id, n.worker_id, n.claimed_at
    FROM named n
    JOIN tasks t ON t.parent_job_id = n.job_id AND t.stage = n.stage AND t.task_id = n.task_id
    WHERE t.ordinal BETWEEN n.first_ordinal AND n.last_ordinal
      AND t.attempt = COALESCE(t.attempts_forgiven, 0) AND t.ready_at IS NULL AND t.status::text = ANY ($2)
    ORDER BY n.job_id, n.stage, n.task_id
    FOR UPDATE OF t
), ended AS (
    DELETE FROM worker_claims c
    USING dead d
    WHERE c.job_id = d.job_id AND c.stage = d.stage AND c.first_ordinal = d.first_ordinal
), readied AS (
    UPDATE tasks t
    SET status = 'retrying', attempt = t.attempt + 1, ready_at = now(), started_at = l.claimed_at, worker_id = l.worker_id,
        retry_count = LEAST(t.retry_count + 1, 32767), updated_at = now()
    FROM lost l
    WHERE t.parent_job_id = l.job_id AND t.stage = l.stage AND t.task_id = l.task_id
      AND t.attempt = COALESCE(t.attempts_forgiven, 0) AND t.ready_at IS NULL AND t.status::text = ANY ($2)
    RETURNING t.parent_job_id, t.stage
), noted AS (
    SELECT r.tasks, note_repair(r.parent_job_id, r.stage, 'attempts_presumed_dead', r.tasks)
    FROM (SELECT parent_job_id, stage, count(*) AS tasks FROM readied GROUP BY parent_job_id, stage) r
)
SELECT (SELECT count(*) FROM dead) AS "claims!", (SELECT COALESCE(sum(tasks), 0)::bigint FROM noted) AS "tasks!"
