-- Batches that are owed and due; taking them puts them off by $1 seconds, so that many may look at once.
-- Index: task_batches_owed.
UPDATE task_batches b
SET next_send_at = now() + make_interval(secs => $1)
FROM jobs j
WHERE j.job_id = b.job_id AND j.status = 'processing'
  AND (b.job_id, b.stage, b.batch_no) IN (
      SELECT o.job_id, o.stage, o.batch_no
      FROM task_batches o
      JOIN jobs oj ON oj.job_id = o.job_id AND oj.status = 'processing'
      WHERE o.status = 'pending_queue' AND o.next_send_at <= now()
      ORDER BY o.next_send_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED)
RETURNING b.job_id, b.stage, b.batch_no, b.sends, b.tasks_per_message, j.processing_path
