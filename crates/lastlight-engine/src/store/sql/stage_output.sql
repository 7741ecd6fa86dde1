-- What a stage resulted in: the output of a stage without tasks, or the result of its first task. No
-- row if it did not complete. The task is read by a subquery, by its whole key: with a join, a plan made
-- on empty tables would read the whole stage. Index: stages_pkey, task_batches_pkey, tasks_pkey.
SELECT COALESCE(CASE WHEN s.kind <> 'tasks' THEN s.output END, (
           SELECT (SELECT t.result_data
                   FROM tasks t
                   WHERE t.parent_job_id = b.job_id AND t.stage = b.stage AND t.task_id = b.task_ids[1]
                     AND t.status = 'completed')
           FROM task_batches b
           WHERE b.job_id = s.job_id AND b.stage = s.stage AND b.batch_no = 0)) AS output
FROM stages s
WHERE s.job_id = $1 AND s.stage = $2 AND (s.outcome IS NULL OR s.outcome <> 'skipped')
