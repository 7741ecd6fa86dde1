-- Claims up to $3 tasks of ready batches of some handlers of a queue for a worker, from up to $9 batches. The handler
-- whose oldest batch has waited longest goes first, and of its batches the oldest. Returns a row for each task that was
-- claimed; the attempt is its first in this run. A claim of at least $10 tasks of a batch is one row, with a lease for all; of fewer, each
-- task is written. Batches that another claim has locked are passed over, and so are those with a task
-- that this statement does not see yet. $4: lease in seconds; $5: the states from which a task may start; $6: the
-- states in which a job runs. Parameters are returned if they have at most $8 bytes; of larger ones only the length,
-- since many of them would fill the memory. Each handler and job is read by a subquery, and each task by its whole key: otherwise a plan made
-- on empty tables would read all batches, or all tasks of a stage. Locks: the batches' rows, skips rows that are locked; then the tasks' rows. Index:
-- worker_handlers_queue_name_key, task_batches_ready, task_batches_pkey, tasks_pkey, jobs_pkey.
WITH wanted AS MATERIALIZED (
    SELECT h.handler_id, h.name,
           (SELECT b.ready_at FROM task_batches b
            WHERE b.handler_id = h.handler_id AND b.ready_at IS NOT NULL
            ORDER BY b.ready_at LIMIT 1) AS oldest
    FROM worker_handlers h
    WHERE h.queue = $1 AND h.name = ANY ($2)
    ORDER BY oldest
), locked AS MATERIALIZED (
    SELECT r.job_id, r.stage, r.batch_no, r.task_ids, r.untaken, r.ready_at, w.name,
           COALESCE((SELECT j.traceparent FROM jobs j WHERE j.job_id = r.job_id), '') AS trace
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT b.job_id, b.stage, b.batch_no, b.task_ids, b.untaken, b.ready_at
        FROM task_batches b
        WHERE b.handler_id = w.handler_id AND b.ready_at IS NOT NULL
          AND (SELECT j.status::text = ANY ($6) FROM jobs j WHERE j.job_id = b.job_id)
        ORDER BY b.ready_at
        LIMIT $9
        FOR UPDATE OF b SKIP LOCKED
    ) r
    WHERE w.oldest IS NOT NULL
    LIMIT $9
), slices AS MATERIALIZED (
    SELECT n.job_id, n.stage, n.batch_no, n.name, n.ready_at, n.trace, n.task_ids, cardinality(n.task_ids) - n.untaken AS taken,
           LEAST(n.untaken, $3 - n.before)::integer AS takes
    FROM (SELECT l.*, sum(l.untaken) OVER (ORDER BY l.ready_at, l.job_id, l.stage, l.batch_no) - l.untaken AS before
          FROM locked l) n
    WHERE n.before < $3
), named AS MATERIALIZED (
    SELECT s.job_id, s.stage, s.batch_no, s.name, s.ready_at, s.trace, s.takes, id.task_id
    FROM slices s
    CROSS JOIN LATERAL UNNEST(s.task_ids[s.taken + 1 : s.taken + s.takes]) AS id (task_id)
), seen AS MATERIALIZED (
    SELECT n.job_id, n.stage, n.batch_no, n.name, n.ready_at, n.trace, n.takes, n.task_id, t.ordinal, t.job_type, t.task_type,
           t.parameters, t.parent_task_id, t.parent_stage,
           (t.attempt + 1)::smallint AS attempt, t.attempt = COALESCE(t.attempts_forgiven, 0) AND t.ready_at IS NULL AND t.status::text = ANY ($5) AS is_free
    FROM named n
    JOIN tasks t ON t.parent_job_id = n.job_id AND t.stage = n.stage AND t.task_id = n.task_id
), chosen AS MATERIALIZED (
    SELECT s.job_id, s.stage, s.batch_no, s.takes, min(s.ordinal) AS first_ordinal, max(s.ordinal) AS last_ordinal
    FROM seen s
    GROUP BY s.job_id, s.stage, s.batch_no, s.takes
    HAVING count(*) = s.takes
), free AS MATERIALIZED (
    SELECT s.*
    FROM seen s
    JOIN chosen c ON c.job_id = s.job_id AND c.stage = s.stage AND c.batch_no = s.batch_no
    WHERE s.is_free
), marked AS (
    UPDATE task_batches b
    SET untaken = b.untaken - c.takes, ready_at = CASE WHEN b.untaken > c.takes THEN b.ready_at END
    FROM chosen c
    WHERE b.job_id = c.job_id AND b.stage = c.stage AND b.batch_no = c.batch_no
), claimed AS (
    INSERT INTO worker_claims (job_id, stage, first_ordinal, last_ordinal, batch_no, worker_id, lease_until)
    SELECT c.job_id, c.stage, c.first_ordinal, c.last_ordinal, c.batch_no, $7, now() + make_interval(secs => $4)
    FROM chosen c
    WHERE c.takes >= $10
), written AS (
    UPDATE tasks t
    SET status = 'processing', attempt = t.attempt + 1, heartbeat = now(), lease_until = now() + make_interval(secs => $4),
        started_at = now(), worker_id = $7, updated_at = now()
    FROM free s
    WHERE s.takes < $10
      AND t.parent_job_id = s.job_id AND t.stage = s.stage AND t.task_id = s.task_id
      AND t.attempt = COALESCE(t.attempts_forgiven, 0) AND t.ready_at IS NULL AND t.status::text = ANY ($5)
)
SELECT s.job_id AS "job_id!: JobId", s.stage AS "stage!: Stage", s.task_id AS "task_id!: TaskId", s.name AS "handler!",
       s.attempt AS "attempt!",
       EXTRACT(EPOCH FROM now() - s.ready_at)::double precision AS "waited_seconds!",
       s.takes >= $10 AS "is_claim!", s.job_type AS "job_type!", s.task_type AS "task_type!",
       octet_length(s.parameters::text) AS "parameters_bytes!",
       CASE WHEN octet_length(s.parameters::text) <= $8 THEN s.parameters END AS parameters,
       (SELECT ARRAY[octet_length(p.result_data::text)::text,
                     CASE WHEN octet_length(p.result_data::text) <= $8 THEN p.result_data::text END]
        FROM tasks p
        WHERE p.parent_job_id = s.job_id AND p.stage = COALESCE(s.parent_stage, s.stage - 1)
          AND p.task_id = s.parent_task_id AND p.status = 'completed') AS "predecessor: Vec<Option<String>>",
       s.trace AS "trace!: StoredTrace"
FROM free s
