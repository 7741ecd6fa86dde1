-- A stage that is over and not measured since: what to add to the rollups. One pass over its tasks, in one snapshot, without
-- a lock; record_measure.sql writes it only if the stage is still as it was read here.
-- Counted: outcomes since the last measure; of attempts, retries and messages, what is not in the rollups. A task's wait and
-- run are samples only if its first attempt began since, or a person's pause would be in them. A batch that was sent more than
-- once counts from when it was written. One row with the sums and each histogram as three arrays, or none.
-- Index: stages_pkey, jobs_pkey, task_batches_pkey, tasks_pkey.
WITH stage AS (
    SELECT s.job_id, s.stage, s.total, s.completed, s.failed, s.skipped, s.advanced_at, s.measured_at,
           s.measured_attempts, s.measured_retries, s.measured_messages, j.job_type, j.processing_path
    FROM stages s
    JOIN jobs j ON j.job_id = s.job_id
    WHERE s.job_id = $1 AND s.stage = $2 AND s.advanced_at IS NOT NULL
      AND (s.measured_at IS NULL OR s.measured_at < s.advanced_at)
      AND s.completed + s.failed + s.skipped = s.total
), batches AS MATERIALIZED (
    SELECT b.batch_no, CASE WHEN b.sends > 1 THEN b.created_at ELSE b.sent_at END AS sent_at
    FROM task_batches b
    WHERE b.job_id = $1 AND b.stage = $2 AND EXISTS (SELECT FROM stage)
), sent AS (
    SELECT COALESCE(sum(b.messages), 0)::bigint AS messages,
           min(CASE WHEN s.measured_at IS NULL THEN b.created_at
                    WHEN b.next_send_at > s.measured_at THEN b.next_send_at END) AS began
    FROM task_batches b
    CROSS JOIN stage s
    WHERE b.job_id = $1 AND b.stage = $2
), grouped AS (
    SELECT GROUPING(k.wait) AS without_wait, GROUPING(k.run) AS without_run, k.wait, k.run,
           count(k.wait) AS waits, sum(GREATEST(k.wait_ms, 0)) AS wait_ms, count(k.run) AS runs, sum(GREATEST(k.run_ms, 0)) AS run_ms,
           count(*) FILTER (WHERE k.is_new AND k.status = 'completed') AS completed,
           count(*) FILTER (WHERE k.is_new AND k.status = 'failed') AS failed,
           count(*) FILTER (WHERE k.is_new AND k.status = 'skipped') AS skipped,
           sum(k.attempt) AS attempts, sum(k.retry_count) AS retries,
           min(k.finished_at) FILTER (WHERE k.is_new) AS first_end, max(k.finished_at) FILTER (WHERE k.is_new) AS last_end
    FROM (
        -- Null is no sample; GREATEST alone would make it one.
        SELECT m.*,
               CASE WHEN m.wait_ms IS NOT NULL
                    THEN floor(8 * ln(GREATEST(m.wait_ms, 1)) / ln(2::double precision))::smallint END AS wait,
               CASE WHEN m.run_ms IS NOT NULL
                    THEN floor(8 * ln(GREATEST(m.run_ms, 1)) / ln(2::double precision))::smallint END AS run
        FROM (
            SELECT t.status, t.attempt, t.retry_count, t.finished_at,
                   s.measured_at IS NULL OR t.finished_at > s.measured_at AS is_new,
                   CASE WHEN s.measured_at IS NULL OR t.started_at > s.measured_at
                        THEN EXTRACT(EPOCH FROM t.started_at - b.sent_at)::double precision * 1000
                   END AS wait_ms,
                   CASE WHEN (s.measured_at IS NULL OR t.started_at > s.measured_at) AND t.status <> 'skipped'
                             AND t.attempts_forgiven IS NULL
                        THEN EXTRACT(EPOCH FROM t.finished_at - t.started_at)::double precision * 1000
                   END AS run_ms
            FROM tasks t
            CROSS JOIN stage s
            LEFT JOIN batches b ON b.batch_no = substring(t.batch_id FROM '-b([0-9]+)$')::integer
            WHERE t.parent_job_id = $1 AND t.stage = $2
        ) m
    ) k
    GROUP BY GROUPING SETS ((), (k.wait), (k.run))
)
SELECT s.total AS expected_total, s.completed AS expected_completed, s.failed AS expected_failed,
       s.advanced_at, s.measured_at, s.job_type, s.processing_path,
       a.completed, a.failed, a.skipped,
       COALESCE(a.attempts, 0)::bigint - s.measured_attempts AS attempts,
       COALESCE(a.retries, 0)::bigint - s.measured_retries AS retries,
       -- The stage's own job message is one of them.
       b.messages + COALESCE(a.retries, 0)::bigint + 1 - s.measured_messages AS messages,
       COALESCE(GREATEST(0, EXTRACT(EPOCH FROM a.last_end - COALESCE(b.began, a.first_end))), 0)::double precision
           AS busy_seconds,
       ARRAY(SELECT g.wait FROM grouped g WHERE g.without_wait = 0 AND g.wait IS NOT NULL ORDER BY g.wait) AS waits,
       ARRAY(SELECT g.waits FROM grouped g WHERE g.without_wait = 0 AND g.wait IS NOT NULL ORDER BY g.wait)
           AS wait_samples,
       ARRAY(SELECT g.wait_ms FROM grouped g WHERE g.without_wait = 0 AND g.wait IS NOT NULL ORDER BY g.wait)
           AS wait_ms,
       ARRAY(SELECT g.run FROM grouped g WHERE g.without_run = 0 AND g.run IS NOT NULL ORDER BY g.run) AS runs,
       ARRAY(SELECT g.runs FROM grouped g WHERE g.without_run = 0 AND g.run IS NOT NULL ORDER BY g.run) AS run_samples,
       ARRAY(SELECT g.run_ms FROM grouped g WHERE g.without_run = 0 AND g.run IS NOT NULL ORDER BY g.run) AS run_ms
FROM stage s
CROSS JOIN sent b
CROSS JOIN grouped a
WHERE a.without_wait = 1 AND a.without_run = 1
