-- Adds up to $1 finished jobs that were not measured since they finished to the rollups, and marks
-- them as measured; returns their number. A job that a retry reopened ends, and counts, again; its
-- duration is a sample only the first time, since otherwise it would include the time until a user
-- retried it. Locks: the jobs' rows, skipping those that are locked, then the rollups' rows in key
-- order. Index: jobs_unmeasured, jobs_pkey, job_rollups_pkey, latency_rollups_pkey.
WITH chosen AS (
    SELECT j.job_id, j.measured_at IS NULL AS is_first
    FROM jobs j
    WHERE j.finished_at IS NOT NULL AND (j.measured_at IS NULL OR j.measured_at < j.finished_at)
    ORDER BY j.finished_at
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
), measured AS (
    UPDATE jobs j
    SET measured_at = GREATEST(now(), j.finished_at)
    FROM chosen c
    WHERE j.job_id = c.job_id
    RETURNING date_trunc('hour', j.finished_at, 'UTC') AS hour, j.processing_path, j.job_type, j.status,
              j.status = 'failed' AND j.finished_at >= j.deadline AS is_late,
              CASE WHEN c.is_first
                   THEN GREATEST(0, EXTRACT(EPOCH FROM j.finished_at - j.created_at)::double precision * 1000)
              END AS ms
), counted AS (
    INSERT INTO job_rollups AS r (hour, processing_path, job_type, completed, failed, cancelled, timed_out)
    SELECT hour, processing_path, job_type, count(*) FILTER (WHERE status = 'completed'),
           count(*) FILTER (WHERE status = 'failed'), count(*) FILTER (WHERE status = 'cancelled'),
           count(*) FILTER (WHERE is_late)
    FROM measured
    GROUP BY hour, processing_path, job_type
    ORDER BY hour, processing_path, job_type
    ON CONFLICT (hour, processing_path, job_type) DO UPDATE
    SET completed = r.completed + EXCLUDED.completed, failed = r.failed + EXCLUDED.failed,
        cancelled = r.cancelled + EXCLUDED.cancelled, timed_out = r.timed_out + EXCLUDED.timed_out
    RETURNING 1
), sorted AS (
    INSERT INTO latency_rollups AS r (hour, processing_path, job_type, stage, metric, bucket, samples, total_ms)
    SELECT m.hour, m.processing_path, m.job_type, 0, 'job', m.bucket, count(*), sum(m.ms)
    FROM (SELECT *, floor(8 * ln(GREATEST(ms, 1)) / ln(2::double precision))::smallint AS bucket
          FROM measured
          -- After the rows above, so that concurrent statements wait for each other there.
          WHERE ms IS NOT NULL AND (SELECT count(*) FROM counted) > 0) m
    GROUP BY m.hour, m.processing_path, m.job_type, m.bucket
    ORDER BY m.hour, m.processing_path, m.job_type, m.bucket
    ON CONFLICT (hour, processing_path, job_type, stage, metric, bucket) DO UPDATE
    SET samples = r.samples + EXCLUDED.samples, total_ms = r.total_ms + EXCLUDED.total_ms
)
SELECT count(*) AS "count!" FROM measured
