-- Marks batches as sent, with $4 messages each, so that their tasks count as queued. The status is
-- compared as text, which no index contains: otherwise a plan made on empty tables would read all
-- unsent batches. Index: task_batches_pkey.
UPDATE task_batches b
SET status = 'queued', sent_at = now(), sends = b.sends + 1, messages = b.messages + $4, last_error = NULL
FROM UNNEST($1::text[], $2::smallint[], $3::integer[]) AS sent (job_id, stage, batch_no)
WHERE b.job_id = sent.job_id AND b.stage = sent.stage AND b.batch_no = sent.batch_no
  AND b.status::text = 'pending_queue'
