-- Batches that are owed and due; taking them puts them off by $1 seconds, so that many may look at
-- once. Jobs are looked at by themselves: joined, a plan made on empty tables reads all that run
-- for each batch. Index: task_batches_owed, task_batches_pkey, jobs_pkey.
UPDATE task_batches b
SET next_send_at = now() + make_interval(secs => $1)
WHERE (b.job_id, b.stage, b.batch_no) IN (
      SELECT o.job_id, o.stage, o.batch_no
      FROM task_batches o
      WHERE o.status = 'pending_queue' AND o.next_send_at <= now()
        AND (SELECT j.status = 'processing' FROM jobs j WHERE j.job_id = o.job_id)
      ORDER BY o.next_send_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED)
RETURNING b.job_id, b.stage, b.batch_no, b.sends, b.tasks_per_message,
          (SELECT j.processing_path FROM jobs j WHERE j.job_id = b.job_id) AS processing_path
