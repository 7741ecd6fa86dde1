-- The tasks of several batches, in the order of the plan; no row for a batch that does not exist.
-- Index: task_batches_pkey.
SELECT wanted.place AS "place!", b.task_ids AS "task_ids: Vec<TaskId>"
FROM UNNEST($1::text[], $2::smallint[], $3::integer[]) WITH ORDINALITY AS wanted (job_id, stage, batch_no, place)
JOIN task_batches b ON b.job_id = wanted.job_id AND b.stage = wanted.stage AND b.batch_no = wanted.batch_no
