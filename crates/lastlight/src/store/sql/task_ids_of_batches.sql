-- The tasks of several batches, in the order of the plan; no row for a batch that does not exist.
-- Index: task_batches_pkey.
SELECT asked.place AS place, b.task_ids
FROM UNNEST($1::text[], $2::smallint[], $3::integer[]) WITH ORDINALITY AS asked (job_id, stage, batch_no, place)
JOIN task_batches b ON b.job_id = asked.job_id AND b.stage = asked.stage AND b.batch_no = asked.batch_no
