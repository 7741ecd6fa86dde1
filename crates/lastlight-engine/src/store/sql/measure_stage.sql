-- Computes what an ended stage that was not measured since its end adds to the rollups. One pass
-- over its tasks, in one snapshot, without a lock; record_measure.sql writes the sums only if the
-- stage is still as it was read here. Counted are the outcomes since the last measurement, and the
-- attempts, retries and messages that are not in the rollups yet. A task's waiting and running time
-- are samples only if its first attempt began since the last measurement; otherwise they would
-- include the time until a user retried it. The waiting time of a batch that was sent more than
-- once, or whose tasks are for workers, begins when the batch was written. Stages whose tasks are for
-- workers count as those of the path 'worker', and need no messages but their own. Returns one row with the sums and each histogram as three
-- arrays, or none. A million tasks are aggregated in hash tables of some hundred rows; OFFSET 0
-- keeps the planner from sorting: without it, the planner estimates as many buckets as there are
-- timestamps from which they are computed. Index: stages_pkey, jobs_pkey, task_batches_pkey,
-- tasks_pkey.
WITH stage AS MATERIALIZED (
    SELECT s.job_id, s.stage, s.total, s.completed, s.failed, s.skipped, s.advanced_at, s.measured_at,
           s.measured_attempts, s.measured_retries, s.measured_messages, s.kind, s.unmet, j.job_type, j.attempts_before,
           s.handler_id IS NOT NULL AS is_worked,
           CASE WHEN s.handler_id IS NULL THEN j.processing_path ELSE 'worker' END AS processing_path
    FROM stages s
    JOIN jobs j ON j.job_id = s.job_id
    WHERE s.job_id = $1 AND s.stage = $2 AND s.advanced_at IS NOT NULL
      AND (s.measured_at IS NULL OR s.measured_at < s.advanced_at)
      AND s.completed + s.failed + s.skipped = s.total
), sent AS (
    SELECT COALESCE(sum(b.messages), 0)::bigint AS messages,
           min(CASE WHEN s.measured_at IS NULL THEN b.created_at
                    WHEN b.next_send_at > s.measured_at THEN b.next_send_at END) AS began
    FROM task_batches b
    CROSS JOIN stage s
    WHERE b.job_id = $1 AND b.stage = $2
), tallied AS MATERIALIZED (
    SELECT k.wait, k.run,
           count(k.wait) AS waits, sum(GREATEST(k.wait_ms, 0)) AS wait_ms,
           count(k.run) AS runs, sum(GREATEST(k.run_ms, 0)) AS run_ms,
           count(*) FILTER (WHERE k.is_new AND k.status = 'completed') AS completed,
           count(*) FILTER (WHERE k.is_new AND k.status = 'failed') AS failed,
           count(*) FILTER (WHERE k.is_new AND k.status = 'skipped') AS skipped,
           sum(k.attempt) AS attempts, sum(k.retry_count) AS retries,
           min(k.finished_at) FILTER (WHERE k.is_new) AS first_end, max(k.finished_at) FILTER (WHERE k.is_new) AS last_end
    FROM (
        -- Null is not a sample; GREATEST alone would turn it into one.
        SELECT m.*,
               CASE WHEN m.wait_ms IS NOT NULL
                    THEN floor(8 * ln(GREATEST(m.wait_ms, 1)) / ln(2::double precision))::smallint END AS wait,
               CASE WHEN m.run_ms IS NOT NULL
                    THEN floor(8 * ln(GREATEST(m.run_ms, 1)) / ln(2::double precision))::smallint END AS run
        FROM (
            SELECT t.status, GREATEST(t.attempt - s.attempts_before, 0) AS attempt, t.retry_count, t.finished_at,
                   s.measured_at IS NULL OR t.finished_at > s.measured_at AS is_new,
                   CASE WHEN s.measured_at IS NULL OR t.started_at > s.measured_at
                        THEN date_part('epoch', t.started_at - b.sent_at) * 1000
                   END AS wait_ms,
                   CASE WHEN (s.measured_at IS NULL OR t.started_at > s.measured_at) AND t.status <> 'skipped'
                             AND COALESCE(t.attempts_forgiven, 0) <= s.attempts_before
                        THEN date_part('epoch', t.finished_at - t.started_at) * 1000
                   END AS run_ms
            FROM stage s
            JOIN tasks t ON t.parent_job_id = $1 AND t.stage = $2
            LEFT JOIN (
                SELECT b.job_id || '-s' || b.stage || '-b' || b.batch_no AS batch_id,
                       min(CASE WHEN b.sends > 1 OR b.status = 'queued' AND b.sent_at IS NULL THEN b.created_at
                                ELSE b.sent_at END) AS sent_at
                FROM task_batches b
                WHERE b.job_id = $1 AND b.stage = $2
                GROUP BY 1
            ) b ON b.batch_id = t.batch_id
            OFFSET 0
        ) m
        OFFSET 0
    ) k
    GROUP BY k.wait, k.run
), waits AS (
    SELECT array_agg(g.wait ORDER BY g.wait) AS buckets, array_agg(g.samples ORDER BY g.wait) AS samples, array_agg(g.ms ORDER BY g.wait) AS ms
    FROM (SELECT wait, sum(waits)::bigint AS samples, sum(wait_ms) AS ms FROM tallied WHERE wait IS NOT NULL GROUP BY wait) g
), runs AS (
    SELECT array_agg(g.run ORDER BY g.run) AS buckets, array_agg(g.samples ORDER BY g.run) AS samples, array_agg(g.ms ORDER BY g.run) AS ms
    FROM (SELECT run, sum(runs)::bigint AS samples, sum(run_ms) AS ms FROM tallied WHERE run IS NOT NULL GROUP BY run) g
), summed AS (
    SELECT COALESCE(sum(completed), 0)::bigint AS completed, COALESCE(sum(failed), 0)::bigint AS failed, COALESCE(sum(skipped), 0)::bigint AS skipped,
           COALESCE(sum(attempts), 0)::bigint AS attempts, COALESCE(sum(retries), 0)::bigint AS retries,
           min(first_end) AS first_end, max(last_end) AS last_end
    FROM tallied
)
SELECT s.total AS expected_total, s.completed AS expected_completed, s.failed AS expected_failed,
       s.advanced_at, s.measured_at, s.job_type, s.processing_path AS "processing_path!: ProcessingPath",
       a.completed AS "completed!", a.failed AS "failed!", a.skipped AS "skipped!",
       a.attempts - s.measured_attempts AS "attempts!",
       a.retries - s.measured_retries AS "retries!",
       -- Plus 1 for the stage's own job message, if it has tasks to plan.
       b.messages + CASE WHEN s.is_worked THEN 0 ELSE a.retries END + (s.kind IS NULL OR s.kind = 'tasks' AND s.unmet IS NOT TRUE)::integer - s.measured_messages AS "messages!",
       COALESCE(GREATEST(0, EXTRACT(EPOCH FROM a.last_end - COALESCE(b.began, a.first_end))), 0)::double precision
           AS "busy_seconds!",
       COALESCE(w.buckets, '{}') AS "waits!", COALESCE(w.samples, '{}') AS "wait_samples!",
       COALESCE(w.ms, '{}') AS "wait_ms!",
       COALESCE(r.buckets, '{}') AS "runs!", COALESCE(r.samples, '{}') AS "run_samples!",
       COALESCE(r.ms, '{}') AS "run_ms!"
FROM stage s
CROSS JOIN sent b
CROSS JOIN summed a
CROSS JOIN waits w
CROSS JOIN runs r
