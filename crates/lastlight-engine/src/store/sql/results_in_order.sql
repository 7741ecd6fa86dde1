-- The results of the completed tasks of the first batch after batch $3, in the order of the plan, and the
-- reasons of those that failed. No row if there is no such batch. Index: task_batches_pkey, tasks_pkey.
SELECT b.batch_no AS "batch_no!", r.results AS "results!: Vec<Option<String>>", r.errors AS "errors!: Vec<Option<String>>"
FROM (
    SELECT c.job_id, c.stage, c.batch_no, c.task_ids
    FROM task_batches c
    WHERE c.job_id = $1 AND c.stage = $2 AND c.batch_no > $3
    ORDER BY c.batch_no
    LIMIT 1
) b
CROSS JOIN LATERAL (
    SELECT COALESCE(array_agg(t.result_data::text ORDER BY n.place), '{}') AS results,
           COALESCE(array_agg(t.error_details ORDER BY n.place), '{}') AS errors
    FROM UNNEST(b.task_ids) WITH ORDINALITY AS n (task_id, place)
    -- OFFSET 0: by the whole key; with a join, a plan made on empty tables would read the whole stage.
    CROSS JOIN LATERAL (
        SELECT d.status, d.result_data, d.error_details
        FROM tasks d
        WHERE d.parent_job_id = b.job_id AND d.stage = b.stage AND d.task_id = n.task_id
        OFFSET 0
    ) t
    WHERE t.status IN ('completed', 'failed')
) r
