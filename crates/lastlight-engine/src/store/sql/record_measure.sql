-- Adds the measurement of a stage to the rollups and marks the stage as measured. Returns false,
-- and changes nothing, unless the stage is still as it was read ($3 to $7): nothing is counted
-- twice, even if another process measured or reopened it meanwhile. $8 to $16: path, type,
-- outcomes, attempts, retries, messages, seconds; $17 to $20: metric, bucket, samples, sum. Locks:
-- the stage's row, then the rollups' rows in key order. Index: stages_pkey, task_rollups_pkey,
-- latency_rollups_pkey.
WITH measured AS (
    UPDATE stages
    SET measured_at = GREATEST(now(), advanced_at), measured_attempts = measured_attempts + $13::bigint,
        measured_retries = measured_retries + $14::bigint, measured_messages = measured_messages + $15::bigint
    WHERE job_id = $1 AND stage = $2 AND total = $3 AND completed = $4 AND failed = $5 AND advanced_at = $6
      AND measured_at IS NOT DISTINCT FROM $7
    RETURNING date_trunc('hour', advanced_at, 'UTC') AS hour, stage
), counted AS (
    INSERT INTO task_rollups AS r
        (hour, processing_path, job_type, stage, stages, completed, failed, skipped, attempts, retries, messages,
         busy_seconds)
    SELECT hour, $8::text, $9::text, stage, 1, $10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::bigint,
           $15::bigint, $16::double precision
    FROM measured
    ON CONFLICT (hour, processing_path, job_type, stage) DO UPDATE
    SET stages = r.stages + 1, completed = r.completed + EXCLUDED.completed, failed = r.failed + EXCLUDED.failed,
        skipped = r.skipped + EXCLUDED.skipped, attempts = r.attempts + EXCLUDED.attempts,
        retries = r.retries + EXCLUDED.retries, messages = r.messages + EXCLUDED.messages,
        busy_seconds = r.busy_seconds + EXCLUDED.busy_seconds
    RETURNING r.hour
), sorted AS (
    INSERT INTO latency_rollups AS r
        (hour, processing_path, job_type, stage, metric, bucket, samples, total_ms)
    -- After the row above, so that concurrent statements wait for each other there.
    SELECT c.hour, $8::text, $9::text, $2, h.metric, h.bucket, h.samples, h.total_ms
    FROM counted c
    CROSS JOIN UNNEST($17::text[], $18::smallint[], $19::bigint[], $20::double precision[])
         AS h (metric, bucket, samples, total_ms)
    ORDER BY h.metric, h.bucket
    ON CONFLICT (hour, processing_path, job_type, stage, metric, bucket) DO UPDATE
    SET samples = r.samples + EXCLUDED.samples, total_ms = r.total_ms + EXCLUDED.total_ms
)
SELECT EXISTS (SELECT FROM measured) AS "is_written!"
