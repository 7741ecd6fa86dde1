-- Takes unsent batches that are due, and postpones each by $1 seconds, so that concurrent callers
-- never take the same one. Jobs are read by a subquery: with a join, a plan made on empty tables
-- would read all running jobs for each batch. Index: task_batches_owed, task_batches_pkey,
-- jobs_pkey.
UPDATE task_batches b
SET next_send_at = now() + make_interval(secs => $1)
WHERE (b.job_id, b.stage, b.batch_no) IN (
      SELECT o.job_id, o.stage, o.batch_no
      FROM task_batches o
      WHERE o.status = 'pending_queue' AND o.next_send_at <= now()
        AND (SELECT j.status = 'processing' FROM jobs j WHERE j.job_id = o.job_id)
      ORDER BY o.next_send_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED)
RETURNING b.job_id, b.stage, b.batch_no, b.sends, b.tasks_per_message,
          (SELECT j.processing_path FROM jobs j WHERE j.job_id = b.job_id) AS "path!: ProcessingPath"
