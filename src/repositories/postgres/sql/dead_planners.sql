-- Stages that nobody plans any more, or not yet, with no job message owed: it becomes owed again.
-- $1: seconds a stage may rest before it counts as forgotten. Index: stages_open, outbox_pkey.
INSERT INTO outbox (job_id, stage, sends, next_send_at)
SELECT s.job_id, s.stage, 1 + EXTRACT(EPOCH FROM now())::integer % 1000000, now()
FROM stages s
JOIN jobs j ON j.job_id = s.job_id AND j.status IN ('queued', 'processing') AND j.stage = s.stage
WHERE s.advanced_at IS NULL AND s.planned_at IS NULL
  AND (s.lease_until IS NULL OR s.lease_until < now())
  AND s.updated_at < now() - make_interval(secs => $1)
ON CONFLICT (job_id, stage) DO NOTHING
RETURNING job_id, stage
