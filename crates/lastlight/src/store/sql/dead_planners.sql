-- Stages that nobody plans any more (the planner's lease ran out), or for which nobody came (the
-- job message was lost): it becomes owed again. $1: seconds after which a job message counts as
-- lost. Index: stages_open, outbox_pkey.
INSERT INTO outbox (job_id, stage, sends, next_send_at)
-- A message id that was not used before, or duplicate detection would drop it.
SELECT s.job_id, s.stage, EXTRACT(EPOCH FROM now())::bigint % 1000000000, now()
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status IN ('queued', 'processing') AND j.stage = s.stage
     AND j.paused_at IS NULL
WHERE s.advanced_at IS NULL AND s.planned_at IS NULL
  AND (s.lease_until < now()
       OR (s.lease_until IS NULL AND s.updated_at < now() - make_interval(secs => $1)))
ON CONFLICT (job_id, stage) DO NOTHING
RETURNING job_id, stage
