-- Makes the job message unsent again for stages whose planner died (its lease expired), and for
-- stages without a planner because the job message was lost. $1: seconds after which a job message
-- is presumed lost. Returns the number of stages, and notes it in the events of each job. Index: stages_open, outbox_pkey.
WITH unsent AS (
    INSERT INTO outbox (job_id, stage, sends, next_send_at)
    -- The message id must be new, or duplicate detection would drop the message.
    SELECT s.job_id, s.stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
    FROM stages s
    JOIN jobs j ON j.job_id = s.job_id AND j.status::text IN ('queued', 'processing') AND j.paused_at IS NULL
    WHERE s.advanced_at IS NULL AND s.planned_at IS NULL AND (s.kind IS NULL OR s.kind = 'tasks' AND s.waits_for = 0)
      AND (s.lease_until < now()
           OR (s.lease_until IS NULL AND s.updated_at < now() - make_interval(secs => $1)))
    ON CONFLICT (job_id, stage) DO NOTHING
    RETURNING job_id, stage
), noted AS (
    SELECT note_repair(job_id, stage, 'planning_resumed', 1) FROM unsent
)
SELECT count(*) AS "stages!" FROM noted
