-- Records for users why batches are still unsent. Index: task_batches_pkey.
UPDATE task_batches b
SET last_error = $4
FROM UNNEST($1::text[], $2::smallint[], $3::integer[]) AS failed (job_id, stage, batch_no)
WHERE b.job_id = failed.job_id AND b.stage = failed.stage AND b.batch_no = failed.batch_no
