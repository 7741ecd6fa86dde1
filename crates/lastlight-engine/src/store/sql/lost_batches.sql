-- Makes sent batches unsent again whose messages may be lost: those of planned stages in which
-- nothing was recorded for $1 seconds and no attempt runs. A duplicate message changes nothing.
-- Each resend waits twice as long as the one before, so that a queue that is merely slow is not
-- flooded, but at most sixteen times as long, so that a queue that loses messages repeatedly does
-- not delay a job for a whole day. A long queue is not a loss: while tasks start on a path, batches
-- that were sent after those of the starting tasks still wait in its queue. They are left
-- unchanged, also for at most sixteen times as long. If nothing started on a path for $1 seconds,
-- its batches have nothing left to wait for. All times are taken from the database's clock. A
-- deferred task gets its new message from take_deferred.sql. Whether an attempt runs is determined
-- once per stage; jobs and tasks are read by subqueries, by their whole keys: otherwise a plan made
-- on empty tables would read all open jobs, and the whole stage, for each batch. Index:
-- stages_open, jobs_pkey, task_batches_pkey, tasks_pkey. Reads the whole table instances, which has
-- one row per process. Returns the number of batches, which is noted in the events of each job.
WITH watermarks AS MATERIALIZED (
    SELECT max(queue_storage_reached) FILTER (WHERE queue_storage_reached_at > now() - make_interval(secs => $1)) AS queue_storage,
           max(service_bus_reached) FILTER (WHERE service_bus_reached_at > now() - make_interval(secs => $1)) AS service_bus
    FROM instances
), silent AS MATERIALIZED (
    SELECT s.job_id, s.stage,
           CASE (SELECT j.processing_path FROM jobs j WHERE j.job_id = s.job_id)
               WHEN 'service_bus' THEN (SELECT service_bus FROM watermarks)
               ELSE (SELECT queue_storage FROM watermarks)
           END AS watermark
    FROM stages s
    WHERE s.advanced_at IS NULL AND s.planned_at IS NOT NULL
      AND s.updated_at < now() - make_interval(secs => $1)
      AND (SELECT j.status = 'processing' FROM jobs j WHERE j.job_id = s.job_id)
      AND NOT EXISTS (SELECT FROM tasks r
                      WHERE r.parent_job_id = s.job_id AND r.stage = s.stage
                        AND r.status = 'processing' AND r.lease_until > now())
), unsent AS (
    UPDATE task_batches b
    SET status = 'pending_queue', next_send_at = now()
    FROM (
        SELECT c.job_id, c.stage, c.batch_no
        FROM silent s
        JOIN task_batches c ON c.job_id = s.job_id AND c.stage = s.stage
        WHERE c.status = 'queued'
          AND c.sent_at < now() - make_interval(secs => $1 * power(2, least(c.sends, 5) - 1))
          AND (s.watermark IS NULL OR c.sent_at < s.watermark OR c.sent_at < now() - make_interval(secs => $1 * 16))
          AND EXISTS (SELECT FROM UNNEST(c.task_ids) AS id (task_id)
                      WHERE (SELECT t.status IN ('pending_queue', 'queued') AND t.next_send_at IS NULL
                             FROM tasks t
                             WHERE t.parent_job_id = c.job_id AND t.stage = c.stage AND t.task_id = id.task_id))
        LIMIT $2
        FOR UPDATE OF c SKIP LOCKED
    ) lost
    WHERE b.job_id = lost.job_id AND b.stage = lost.stage AND b.batch_no = lost.batch_no
    RETURNING b.job_id, b.stage
), noted AS (
    SELECT u.batches, note_repair(u.job_id, u.stage, 'messages_resent', u.batches)
    FROM (SELECT job_id, stage, count(*) AS batches FROM unsent GROUP BY job_id, stage) u
)
SELECT COALESCE(sum(batches), 0)::bigint AS "batches!" FROM noted
