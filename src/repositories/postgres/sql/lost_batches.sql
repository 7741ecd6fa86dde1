-- Batches that were sent, in stages that were planned and saw nothing happen for $1 seconds: their messages
-- may be lost. They become owed again; a duplicate changes nothing. Index: stages_open, task_batches_pkey.
UPDATE task_batches b
SET status = 'pending_queue', next_send_at = now()
FROM (
    SELECT c.job_id, c.stage, c.batch_no
    FROM stages s
    JOIN jobs j ON j.job_id = s.job_id AND j.status = 'processing'
    JOIN task_batches c ON c.job_id = s.job_id AND c.stage = s.stage
    WHERE s.advanced_at IS NULL AND s.planned_at IS NOT NULL
      AND s.updated_at < now() - make_interval(secs => $1)
      AND c.status = 'queued' AND c.sent_at < now() - make_interval(secs => $1)
      AND EXISTS (SELECT FROM UNNEST(c.task_ids) AS id (task_id)
                  JOIN tasks t ON t.parent_job_id = c.job_id AND t.stage = c.stage AND t.task_id = id.task_id
                  WHERE t.status IN ('pending_queue', 'queued'))
    LIMIT $2
    FOR UPDATE OF c SKIP LOCKED
) lost
WHERE b.job_id = lost.job_id AND b.stage = lost.stage AND b.batch_no = lost.batch_no
